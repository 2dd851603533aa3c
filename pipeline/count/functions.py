"""Multiply-adds and receptive field of a call of a torch function, from the shapes of its arguments.

Functions without a rule have no multiply-adds and a receptive field of one pixel. Receptive fields are measured along
the height.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from types import SimpleNamespace
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Effect:
    """The cost and reach of one call.

    multiply_adds: of convolutions and matrix products, without biases · neighbours: input pixels that an output
    pixel reads besides its own · step: its stride, in input pixels.
    """

    multiply_adds: int = 0
    neighbours: int = 0
    step: Fraction = Fraction(1)


def effect(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Effect:
    """The effect of a call that returned `result`."""
    names, rule = RULES.get(getattr(function, "__name__", ""), ("", None))
    if rule is None:
        return Effect()
    arguments = DEFAULTS | dict(zip(names.split(), args, strict=False)) | kwargs
    return rule(SimpleNamespace(**arguments), result)


def _high(size: Any) -> int:
    """The height of a size; one number means both sides."""
    return int(size[0] if isinstance(size, tuple | list) else size)


def _convolution(call: SimpleNamespace, result: Tensor) -> Effect:
    window = _high(call.dilation) * (call.weight.shape[2] - 1) + 1
    return Effect(result.numel() * call.weight[0].numel(), window - 1, Fraction(_high(call.stride or 1)))


def _transposed(call: SimpleNamespace, _result: Tensor) -> Effect:
    window, stride = _high(call.dilation) * (call.weight.shape[2] - 1) + 1, _high(call.stride or 1)
    return Effect(call.input.numel() * call.weight[0].numel(), ceil(window / stride) - 1, Fraction(1, stride))


def _linear(call: SimpleNamespace, result: Tensor) -> Effect:
    return Effect(result.numel() * call.weight.shape[-1])


def _product(call: SimpleNamespace, result: Tensor) -> Effect:
    return Effect(result.numel() * call.input.shape[-1])


def _pool(call: SimpleNamespace, _result: Any) -> Effect:
    kernel = _high(call.kernel_size)
    if kernel >= call.input.shape[-2]:
        return Effect()  # global pooling: the receptive field is that of the feature map before it
    return Effect(0, _high(call.dilation) * (kernel - 1), Fraction(_high(call.stride or kernel)))


def _adaptive_pool(call: SimpleNamespace, result: Any) -> Effect:
    step = _resized(call, result[0] if isinstance(result, tuple) else result).step
    global_pool = step == call.input.shape[-2]
    return Effect() if global_pool else Effect(0, ceil(step) - 1, step)


def _resized(call: SimpleNamespace, result: Tensor) -> Effect:
    return Effect(0, 0, Fraction(call.input.shape[-2], result.shape[-2]))


def _interpolation(call: SimpleNamespace, result: Tensor) -> Effect:
    neighbours = {"bilinear": 1, "bicubic": 3}.get(call.mode, 0)
    return Effect(0, neighbours, _resized(call, result).step)


DEFAULTS: dict[str, Any] = {"stride": None, "dilation": 1, "mode": "nearest"}
Rule = Callable[[SimpleNamespace, Any], Effect]
#: function name → its positional arguments, as far as the rule needs them, and the rule
RULES: dict[str, tuple[str, Rule]] = {
    "conv2d": ("input weight bias stride padding dilation", _convolution),
    "conv_transpose2d": ("input weight bias stride padding output_padding groups dilation", _transposed),
    "linear": ("input weight", _linear),
    "matmul": ("input", _product),
    "mm": ("input", _product),
    "bmm": ("input", _product),
    "max_pool2d": ("input kernel_size stride padding dilation", _pool),
    "max_pool2d_with_indices": ("input kernel_size stride padding dilation", _pool),
    "avg_pool2d": ("input kernel_size stride", _pool),
    "adaptive_avg_pool2d": ("input", _adaptive_pool),
    "adaptive_max_pool2d": ("input", _adaptive_pool),
    "adaptive_max_pool2d_with_indices": ("input", _adaptive_pool),
    "interpolate": ("input size scale_factor mode", _interpolation),
    "max_unpool2d": ("input", _resized),
}
