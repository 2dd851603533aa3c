"""FCN against the paper's counts, its upsampling against torch's, and each network started from the coarser one."""

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.errors import UserError
from pipeline.models import fcn8s, fcn16s, fcn32s
from pipeline.models.parts.fcn import FCN, Enlarge
from pipeline.models.parts.spec import Spec

SPEC = Spec("segmentation", 4, 1, 96)
SMALL: dict[str, Any] = {
    "backbone_options": {"config": "A", "width": 4, "head_width": 16, "dropout": 0, "norm": "batch"},
    "window": 32,
}


def made(module: ModuleType, **options: Any) -> FCN:
    torch.manual_seed(0)
    network: FCN = module.build(SPEC, **SMALL | options)
    return network.eval()


def images() -> Tensor:
    return torch.randn(2, 1, 96, 96, generator=torch.Generator().manual_seed(1))


def scored(network: FCN) -> FCN:
    """With random score layers: they start at zero."""
    for parameter in (*network.scores.parameters(), *network.body.network.get_submodule("classifier.6").parameters()):
        torch.nn.init.normal_(parameter)
    return network


@pytest.mark.parametrize("module", [fcn32s, fcn16s, fcn8s])
def test_initial_logits_are_zero(module: ModuleType) -> None:
    with torch.no_grad():
        logits = made(module)(images())
    assert logits.shape == (2, 4, 96, 96)
    assert not logits.any()


@pytest.mark.parametrize(("coarse", "fine"), [(fcn32s, fcn16s), (fcn16s, fcn8s)])
def test_the_finer_net_starts_where_the_coarser_ended(coarse: ModuleType, fine: ModuleType) -> None:
    """Bilinear by 32 is not bilinear by 2 and by 16, but in the middle of a cell they meet."""
    first, second = scored(made(coarse)), made(fine)
    missing, unexpected = second.load_state_dict(first.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("scores") for name in missing)
    with torch.no_grad():
        before, after = first(images()), second(images())
    assert (before.argmax(1) == after.argmax(1)).float().mean() > 0.9


@pytest.mark.parametrize("factor", [2, 8, 32])
def test_enlarging_is_bilinear_inside(factor: int) -> None:
    scores = torch.randn(1, 3, 5, 6)
    upsampled = Enlarge(3, factor, learn=False)(scores)
    expected = F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)
    inside = slice(factor // 2, -factor // 2)
    torch.testing.assert_close(upsampled[..., inside, inside], expected[..., inside, inside])


def test_logits_move_with_the_image() -> None:
    """A bright square moves by 32 pixels, and so do the logits of all three nets, inside the image."""
    for module in (fcn32s, fcn16s, fcn8s):
        network = scored(made(module))
        near, far = torch.zeros(1, 1, 96, 96), torch.zeros(1, 1, 96, 96)
        near[..., 24:40, 24:40] = far[..., 56:72, 24:40] = 3.0
        with torch.no_grad():
            one, other = (network(item) - network(torch.zeros_like(item)) for item in (near, far))
        peak = one[0].abs().sum(0)
        row, column = (int(index) for index in divmod(int(peak.argmax()), 96))
        assert 8 <= row < 56
        assert 8 <= column < 56
        assert (one[..., 8:56, 8:88] - other[..., 40:88, 8:88]).abs().mean() < 0.5 * one.abs().mean()


def test_upsampling_is_learnt_only_if_asked_for() -> None:
    def learnt(network: FCN) -> set[str]:
        return {name for name, _ in network.named_parameters() if name.startswith(("doubled", "last"))}

    assert learnt(made(fcn8s)) == set()
    assert learnt(made(fcn8s, learn_upsampling=True)) == {"doubled.0.weight", "doubled.1.weight"}


def test_at_once_scales_the_finer_maps() -> None:
    plain, scaled = scored(made(fcn8s)), scored(made(fcn8s, at_once=True))
    scaled.load_state_dict(plain.state_dict())
    assert scaled.scales == (1e-2, 1e-4)
    coarse = made(fcn32s)
    coarse.load_state_dict({name: value for name, value in plain.state_dict().items() if "scores" not in name})
    with torch.no_grad():
        reference, near, far = coarse(images()), scaled(images()), plain(images())
    inside = slice(32, -32)
    distances = [(reference - other)[..., inside, inside].abs().mean() for other in (near, far)]
    assert distances[0] < distances[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"window": 40}, "must be a multiple of 32"), ({"backbone": "lenet5", "backbone_options": {}}, "stride of 4")],
)
def test_a_backbone_that_does_not_fit_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        made(fcn16s, **options)
