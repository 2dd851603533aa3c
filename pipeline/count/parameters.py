"""The number of parameters of a layer, computed from its hyperparameters alone.

No formula reads a weight, so the number is independent of the built network. An own layer defines
`parameter_formula() -> int`, for its own parameters and not for those of its submodules.
"""

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

from torch import nn

from pipeline.errors import UserError


def expected(name: str, layer: nn.Module) -> int:
    """Trainable parameters of a layer without its submodules; UserError if it has parameters but no formula."""
    own: Callable[[], int] | None = getattr(layer, "parameter_formula", None)
    if own is not None:
        return own()
    for kind, formula in FORMULAS.items():
        if isinstance(layer, kind):
            return formula(layer)
    if not list(layer.parameters(recurse=False)):
        return 0
    raise UserError(f"{name}: {type(layer).__name__} has parameters but no formula. Define parameter_formula() in it.")


def trainable(parameters: Iterable[nn.Parameter]) -> int:
    """The number of values in the trainable ones of `parameters`."""
    return sum(parameter.numel() for parameter in parameters if parameter.requires_grad)


def _bias(layer: Any) -> int:
    """1 if the layer has a bias, else 0."""
    return int(layer.bias is not None)


def _convolution(layer: Any) -> int:
    return layer.out_channels * (layer.in_channels // layer.groups * prod(layer.kernel_size) + _bias(layer))


def _transposed(layer: Any) -> int:
    window = layer.out_channels // layer.groups * prod(layer.kernel_size)
    return layer.in_channels * window + _bias(layer) * layer.out_channels


def _linear(layer: Any) -> int:
    return layer.out_features * (layer.in_features + _bias(layer))


def _batch_norm(layer: Any) -> int:
    return 2 * layer.num_features * layer.affine


def _group_norm(layer: Any) -> int:
    return 2 * layer.num_channels * layer.affine


def _layer_norm(layer: Any) -> int:
    return prod(layer.normalized_shape) * (1 + _bias(layer)) * layer.elementwise_affine


#: layer type → its formula
FORMULAS: dict[type[nn.Module], Callable[[Any], int]] = {
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _transposed,
    nn.Linear: _linear,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.InstanceNorm2d: _batch_norm,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.PReLU: lambda layer: layer.num_parameters,
    nn.Embedding: lambda layer: layer.num_embeddings * layer.embedding_dim,
}
