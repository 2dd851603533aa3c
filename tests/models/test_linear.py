"""The linear classifier has a weight for each pixel and class, and nothing else."""

import pytest
import torch

from pipeline.models import linear
from pipeline.models.parts.spec import Spec


@pytest.mark.parametrize(("channels", "size", "parameters"), [(1, 28, 7_850), (3, 32, 30_730)])
def test_parameters(channels: int, size: int, parameters: int) -> None:
    network = linear.build(Spec("classification", 10, channels, size))
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def test_is_linear() -> None:
    network = linear.build(Spec("classification", 4, 1, 8))
    first, second = torch.rand(2, 1, 1, 8, 8)
    middle = (network(first) + network(second)) / 2
    torch.testing.assert_close(network((first + second) / 2), middle)
