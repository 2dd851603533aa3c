"""Parameters, multiply-adds, activation memory and receptive field of a network, by module and in total.

All of it is known from one forward pass over shapes on the meta device: no memory, no arithmetic. Parameters and
multiply-adds are counted in two independent ways, by formula and from what was built and run, that must agree.
"""

from dataclasses import dataclass
from math import ceil

import torch
from torch import nn

from pipeline.count.layer_trace import Call, Field, Trace, agree
from pipeline.count.parameters import expected, trainable


@dataclass(frozen=True, slots=True)
class Row:
    """What one module holds and does itself, without the modules inside it; the field is that of its output map."""

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

    activation_bytes: float32 outputs of all layers · receptive_field, stride: pixels, of the last map before it is
    flattened or averaged; None where no map sees beyond a pixel · modules: those that hold or do something.
    """

    parameters: int
    multiply_adds: int
    activation_bytes: int
    receptive_field: int | None
    stride: float | None
    modules: list[Row]


def count(net: nn.Module, channels: int, size: int, call: Call | None = None) -> Count:
    """Count a network on the meta device, in evaluation mode, for an image channels×size×size.

    `call(net, images)` runs the network where that is more than `net(images)` (proposals, noise).
    UserError names the module and both numbers where formula and network differ.
    """
    trace = Trace()
    field = trace.run(net.eval(), torch.empty(1, channels, size, size, device="meta"), call)
    rows = [_row(name, module, trace) for name, module in net.named_modules()]
    agree("the network", "parameters", sum(row.parameters for row in rows), trainable(net.parameters()))
    return Count(
        parameters=sum(row.parameters for row in rows),
        multiply_adds=sum(row.multiply_adds for row in rows),
        activation_bytes=sum(row.activation_bytes for row in rows),
        receptive_field=_seen(field),
        stride=_stride(field),
        modules=[row for row in rows if row.parameters or row.multiply_adds or row.activation_bytes],
    )


def _row(name: str, module: nn.Module, trace: Trace) -> Row:
    parameters = expected(name, module)
    agree(name or "the network", "parameters", parameters, trainable(module.parameters(recurse=False)))
    field = trace.fields.get(name)
    return Row(
        name=name,
        type=type(module).__name__,
        parameters=parameters,
        multiply_adds=trace.multiply_adds[name],
        activation_bytes=trace.activation_bytes[name],
        receptive_field=_seen(field),
        stride=_stride(field),
    )


def _seen(field: Field | None) -> int | None:
    return None if field is None else ceil(field.seen)


def _stride(field: Field | None) -> float | None:
    """A whole number as such; less than 1 where a map is larger than the image."""
    if field is None:
        return None
    return int(field.stride) if field.stride.denominator == 1 else float(field.stride)
