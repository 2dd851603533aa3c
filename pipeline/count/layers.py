"""Parameters, multiply-adds, activation memory and receptive field of a network, by module and in total.

One forward pass over shapes on the meta device gives all of it, without memory or arithmetic. Parameters and
multiply-adds are counted twice, by formula and from the built network, and both must agree.
"""

from dataclasses import dataclass
from math import ceil

import torch
from torch import nn

from pipeline.count.layer_trace import Call, Field, Trace, check_equal
from pipeline.count.parameters import expected, trainable


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
    it is flattened or averaged; None if they are one pixel everywhere · modules: those with any cost.
    """

    parameters: int
    multiply_adds: int
    activation_bytes: int
    receptive_field: int | None
    stride: float | None
    modules: list[Row]


def count(net: nn.Module, channels: int, size: int, call: Call | None = None) -> Count:
    """Count a network on the meta device, in evaluation mode, for an image channels×size×size.

    `call(net, images)` runs networks that need more than `net(images)` (proposals, noise).
    UserError names the module and both numbers if formula and network differ.
    """
    trace = Trace()
    field = trace.run(net.eval(), torch.empty(1, channels, size, size, device="meta"), call)
    rows = [_row(name, module, trace) for name, module in net.named_modules()]
    check_equal("the network", "parameters", sum(row.parameters for row in rows), trainable(net.parameters()))
    return Count(
        parameters=sum(row.parameters for row in rows),
        multiply_adds=sum(row.multiply_adds for row in rows),
        activation_bytes=sum(row.activation_bytes for row in rows),
        receptive_field=_size(field),
        stride=_stride(field),
        modules=[row for row in rows if row.parameters or row.multiply_adds or row.activation_bytes],
    )


def _row(name: str, module: nn.Module, trace: Trace) -> Row:
    parameters = expected(name, module)
    check_equal(name or "the network", "parameters", parameters, trainable(module.parameters(recurse=False)))
    field = trace.fields.get(name)
    return Row(
        name=name,
        type=type(module).__name__,
        parameters=parameters,
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
