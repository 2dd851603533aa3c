"""Torchvision's networks as an independent implementation: their random weights in ours, and both outputs."""

import torch
from torch import Tensor, nn


def unsettled(network: nn.Module) -> nn.Module:
    """Give batch normalisation statistics and scales that are not those of a fresh network, so that they matter."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.get_buffer("running_mean"), -0.1, 0.1)
            nn.init.uniform_(layer.get_buffer("running_var"), 0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.1, 0.1)
    return network


def outputs(theirs: nn.Module, ours: nn.Module, size: int) -> tuple[Tensor, Tensor]:
    """Logits of two images by both in evaluation mode, in float64, after ours has taken theirs' weights by name.

    Ours may lie on the meta device, where it starts without weights.
    """
    ours.load_state_dict(unsettled(theirs).state_dict(), assign=True)
    images = torch.randn(2, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        return theirs.double().eval()(images), ours.double().eval()(images)
