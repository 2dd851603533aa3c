"""How many parameters a layer should have, by its hyperparameters alone.

No formula looks at a weight, so that a count made from it is independent of what was built. A layer of our own
gives `parameter_formula() -> int`, for what it holds itself and not for the layers inside it.
"""

from collections.abc import Callable, Iterable
from math import prod
from typing import Any

from torch import nn

from pipeline.errors import UserError


def expected(name: str, layer: nn.Module) -> int:
    """Trainable parameters that a layer should hold itself; UserError naming a layer that has no formula."""
    own: Callable[[], int] | None = getattr(layer, "parameter_formula", None)
    if own is not None:
        return own()
    for kind, formula in FORMULAS.items():
        if isinstance(layer, kind):
            return formula(layer)
    if not list(layer.parameters(recurse=False)):
        return 0
    raise UserError(f"{name}: {type(layer).__name__} has parameters and no formula. Give it parameter_formula().")


def trainable(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers are in those of `parameters` that are trained."""
    return sum(parameter.numel() for parameter in parameters if parameter.requires_grad)


def _bias(layer: Any) -> int:
    """1 for each output where the layer was asked for a bias."""
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
