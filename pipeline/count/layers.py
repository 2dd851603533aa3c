"""Parameters, multiply-adds, activation memory and receptive field of a network, by module and in total.

One forward pass on the meta device gives all of it, without memory or arithmetic. Tests compare the numbers with
formulas, with published ones and with hand work.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

import torch
from torch import nn

from pipeline.count.layer_trace import Call, Field, Trace


@dataclass(frozen=True, slots=True)
class Row:
    """Costs of one module without its submodules; receptive field and stride are those of its output."""

    name: str
    type: str
    parameters: int
    multiply_adds: int
    activation_bytes: int
    receptive_field: int | None
    stride: float | None


@dataclass(frozen=True, slots=True)
class Count:
    """A network's totals for one image.

    activation_bytes: float32 outputs of all layers · receptive_field, stride: pixels, of the last feature map before
    it is flattened or averaged; None if they are one pixel everywhere or not defined · modules: those with any cost.
    """

    parameters: int
    multiply_adds: int
    activation_bytes: int
    receptive_field: int | None
    stride: float | None
    modules: list[Row]


def count(net: nn.Module, channels: int, size: int, call: Call | None = None, device: str = "meta") -> Count:
    """Count a network, in evaluation mode, for an image channels×size×size on the network's device.

    `call(net, images)` runs networks that need more than `net(images)` (proposals, noise).
    """
    trace = Trace()
    field = trace.run(net.eval(), torch.zeros(1, channels, size, size, device=device), call)
    rows = [_row(name, module, trace) for name, module in net.named_modules()]
    return Count(
        parameters=trainable(net.parameters()),
        multiply_adds=sum(row.multiply_adds for row in rows),
        activation_bytes=sum(row.activation_bytes for row in rows),
        receptive_field=_size(field),
        stride=_stride(field),
        modules=[row for row in rows if row.parameters or row.multiply_adds or row.activation_bytes],
    )


def trainable(parameters: Iterable[nn.Parameter]) -> int:
    """The number of values in the trainable ones of `parameters`."""
    return sum(parameter.numel() for parameter in parameters if parameter.requires_grad)


def _row(name: str, module: nn.Module, trace: Trace) -> Row:
    field = trace.fields.get(name)
    return Row(
        name=name,
        type=type(module).__name__,
        parameters=trainable(module.parameters(recurse=False)),
        multiply_adds=trace.multiply_adds[name],
        activation_bytes=trace.activation_bytes[name],
        receptive_field=_size(field),
        stride=_stride(field),
    )


def _size(field: Field | None) -> int | None:
    return None if field is None else ceil(field.size)


def _stride(field: Field | None) -> float | None:
    """An int where it is whole; less than 1 where a feature map is larger than the image."""
    if field is None:
        return None
    return int(field.stride) if field.stride.denominator == 1 else float(field.stride)
