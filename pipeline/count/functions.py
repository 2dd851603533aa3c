"""The receptive field of a call of a torch function, from the shapes of its arguments, along the height.

Functions without a rule have a receptive field of one pixel if they multiply and add nothing (activations, sums,
reshaping), or multiply by weights only. Of other products, such as attention, the receptive field is not defined.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from types import SimpleNamespace
from typing import Any

from torch import Tensor

#: products; with weights they read one position, with other features all
PRODUCTS = frozenset({"addmm", "baddbmm", "bmm", "einsum", "linear", "matmul", "mm"})
#: functions that multiply and add nothing, and yet read other positions
MOVING = frozenset({"affine_grid", "fold", "grid_sample", "roll", "unfold"})


@dataclass(frozen=True, slots=True)
class Effect:
    """The reach of one call.

    neighbours: input pixels that an output pixel reads besides its own · step: its stride, in input pixels · defined:
    whether both are.
    """

    neighbours: int = 0
    step: Fraction = Fraction(1)
    defined: bool = True


def effect(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, *, features: int, cost: int
) -> Effect:
    """The effect of a call of the function `name` that returned `result`.

    features: the number of arguments that depend on the image · cost: multiply-adds of the call.
    """
    names, rule = RULES.get(name, ("", None))
    if rule is not None:
        return rule(SimpleNamespace(**(DEFAULTS | dict(zip(names.split(), args, strict=False)) | kwargs)), result)
    by_weights = name in PRODUCTS and features < 2
    return Effect(defined=name not in MOVING and (not cost or by_weights))


def _high(size: Any) -> int:
    """The height of a size; one number means both sides."""
    return int(size[0] if isinstance(size, tuple | list) else size)


def _convolution(call: SimpleNamespace, _result: Tensor) -> Effect:
    window = _high(call.dilation) * (call.weight.shape[2] - 1) + 1
    return Effect(window - 1, Fraction(_high(call.stride or 1)))


def _transposed(call: SimpleNamespace, _result: Tensor) -> Effect:
    window, stride = _high(call.dilation) * (call.weight.shape[2] - 1) + 1, _high(call.stride or 1)
    return Effect(ceil(window / stride) - 1, Fraction(1, stride))


def _pool(call: SimpleNamespace, _result: Any) -> Effect:
    kernel = _high(call.kernel_size)
    if kernel >= call.input.shape[-2]:
        return Effect()  # global pooling: the receptive field is that of the feature map before it
    return Effect(_high(call.dilation) * (kernel - 1), Fraction(_high(call.stride or kernel)))


def _adaptive_pool(call: SimpleNamespace, result: Any) -> Effect:
    step = _resized(call, result[0] if isinstance(result, tuple) else result).step
    global_pool = step == call.input.shape[-2]
    return Effect() if global_pool else Effect(ceil(step) - 1, step)


def _resized(call: SimpleNamespace, result: Tensor) -> Effect:
    return Effect(0, Fraction(call.input.shape[-2], result.shape[-2]))


def _interpolation(call: SimpleNamespace, result: Tensor) -> Effect:
    neighbours = {"bilinear": 1, "bicubic": 3}.get(call.mode, 0)
    return Effect(neighbours, _resized(call, result).step)


DEFAULTS: dict[str, Any] = {"stride": None, "dilation": 1, "mode": "nearest"}
Rule = Callable[[SimpleNamespace, Any], Effect]
#: function name → its positional arguments, as far as the rule needs them, and the rule
RULES: dict[str, tuple[str, Rule]] = {
    "conv2d": ("input weight bias stride padding dilation", _convolution),
    "conv_transpose2d": ("input weight bias stride padding output_padding groups dilation", _transposed),
    "max_pool2d": ("input kernel_size stride padding dilation", _pool),
    "max_pool2d_with_indices": ("input kernel_size stride padding dilation", _pool),
    "avg_pool2d": ("input kernel_size stride", _pool),
    "adaptive_avg_pool2d": ("input", _adaptive_pool),
    "adaptive_max_pool2d": ("input", _adaptive_pool),
    "adaptive_max_pool2d_with_indices": ("input", _adaptive_pool),
    "interpolate": ("input size scale_factor mode", _interpolation),
    "max_unpool2d": ("input", _resized),
}
