"""The options that studies vary, each against a count by hand or the published network."""

from typing import Any

import pytest
import torch
from torch import nn

from pipeline.errors import UserError
from pipeline.models import googlenet, nin, vgg
from pipeline.models.parts.spec import Spec

SPEC = Spec("classification", 10, 1, 32)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def small(**options: Any) -> nn.Module:
    return vgg.build(SPEC, width=4, head_width=8, dropout=0, **options)


def test_a_configurations_kernels_give_that_configuration() -> None:
    torch.manual_seed(0)
    named = small(config="C").eval()
    torch.manual_seed(0)
    listed = small(kernels=[[3, 3], [3, 3], [3, 3, 1], [3, 3, 1], [3, 3, 1]]).eval()
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(named(images), listed(images))
    with pytest.raises(UserError, match=r"options\.kernels: 2 lists; give five lists"):
        small(kernels=[[3], [3]])


def test_three_3x3_have_27_weights_where_one_7x7_has_49() -> None:
    stack = small(kernels=[[3, 3, 3, 3], [3], [3], [3], [3]])
    window = small(kernels=[[3, 7], [3], [3], [3], [3]])
    assert parameters(window) - parameters(stack) == (49 - 27) * 4 * 4 + (1 - 3) * 4
    none = small(kernels=[[3], [3], [3], [3], [3]])
    assert parameters(stack) - parameters(none) == 27 * 4 * 4 + 3 * 4


@pytest.mark.parametrize(("size", "side"), [(16, 4), (17, 4), (32, 8)])
def test_nins_control_connects_all_cells_of_the_last_maps(size: int, side: int) -> None:
    spec = Spec("classification", 10, 1, size)
    averaged, connected = (nin.build(spec, width=24, head=head) for head in nin.HEADS)
    assert parameters(connected) - parameters(averaged) == (10 * side**2 + 1) * 10
    assert connected(torch.zeros(2, 1, size, size)).shape == (2, 10)
    with pytest.raises(UserError, match=r"options\.head: no head is named 'dense'"):
        nin.build(spec, head="dense")


def test_a_naive_module_reads_all_maps_with_every_window_and_passes_them_on() -> None:
    module = googlenet.Inception(6, (1, 2, 3, 4, 5, 7), True, False)
    assert parameters(module) == (6 * 1 + 1) + (6 * 9 * 3 + 3) + (6 * 25 * 5 + 5)
    assert module(torch.zeros(2, 6, 8, 8)).shape == (2, 1 + 3 + 5 + 6, 8, 8)
    spec = Spec("classification", 10, 1, 16)
    for auxiliary in (False, True):
        options: dict[str, Any] = {"stem": "cifar", "width": 8, "auxiliary": auxiliary}
        reduced, naive = (googlenet.build(spec, reduced=reduced, **options) for reduced in (True, False))
        assert parameters(naive) > 5 * parameters(reduced)
        assert naive.eval()(torch.zeros(2, 1, 16, 16)).shape == (2, 10)
