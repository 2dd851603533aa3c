"""torchvision's networks as an independent implementation: load their random weights into ours, compare outputs."""

import torch
from torch import Tensor, nn


def randomize_norms(network: nn.Module) -> nn.Module:
    """Randomise the statistics and scales of batch normalisation, so that they change the outputs."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.get_buffer("running_mean"), -0.1, 0.1)
            nn.init.uniform_(layer.get_buffer("running_var"), 0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.1, 0.1)
    return network


def outputs(theirs: nn.Module, ours: nn.Module, size: int) -> tuple[Tensor, Tensor]:
    """Logits of two images by both networks in evaluation mode and float64, after ours has loaded theirs' weights.

    Ours may lie on the meta device, where it starts without weights.
    """
    ours.load_state_dict(randomize_norms(theirs).state_dict(), assign=True)
    images = torch.randn(2, 3, size, size, dtype=torch.float64)
    with torch.no_grad():
        return theirs.double().eval()(images), ours.double().eval()(images)
