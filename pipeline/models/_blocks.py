"""Pieces that several architectures share."""

from torch import nn


def he_normal(network: nn.Module) -> nn.Module:
    """Initialise for rectifiers: weights N(0, 2/fan-in), biases 0. He et al. 2015, https://arxiv.org/abs/1502.01852."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
