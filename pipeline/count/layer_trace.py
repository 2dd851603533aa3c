"""Trace one forward pass: the multiply-adds, activations and receptive field of every module.

torch's FlopCounterMode counts multiply-adds, of layers of any kind. The receptive field is stored with each tensor, so
branches and joins need no special treatment. Formulas: Araujo,
Norris, Sim: Computing Receptive Fields of Convolutional Neural Networks, Distill 2019,
https://distill.pub/2019/computing-receptive-fields.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.weak import WeakTensorKeyDictionary

from pipeline.count.functions import Effect, effect

FLOAT32_BYTES = 4
Call = Callable[[nn.Module, Tensor], Any]


@dataclass(frozen=True, slots=True, order=True)
class Field:
    """The receptive field of a feature map's pixel along one side, and its stride, in input pixels.

    undefined: after attention or a layer without a rule; it is the largest of all.
    """

    undefined: bool = False
    size: Fraction = Fraction(1)
    stride: Fraction = Fraction(1)

    def after(self, call: Effect) -> "Field":
        """The field after one more function."""
        if self.undefined or not call.defined:
            return Field(undefined=True)
        return Field(False, self.size + call.neighbours * self.stride, self.stride * call.step)


class Trace(TorchFunctionMode):
    """Costs of a forward pass by the name of the running module (`""` is the network itself)."""

    def __init__(self) -> None:
        super().__init__()
        self.multiply_adds: dict[str, int] = defaultdict(int)
        self.activation_bytes: dict[str, int] = defaultdict(int)
        self.fields: dict[str, Field] = {}
        self._running = [""]
        self._field_of: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._flops = FlopCounterMode(display=False)

    @torch.no_grad()
    def run(self, net: nn.Module, images: Tensor, call: Call | None = None) -> Field | None:
        """Pass images through; the last feature map's field, None if it is one pixel or not defined."""
        self._field_of[images] = Field()
        with ExitStack() as hooks:
            for name, module in net.named_modules():
                hooks.callback(module.register_forward_pre_hook(partial(self._enter, name)).remove)
                hooks.callback(module.register_forward_hook(partial(self._leave, name)).remove)
            with self._flops, self:
                output = call(net, images) if call else net(images)
        field = self._field(output)
        return None if field is None or field.undefined or field == Field() else field

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        before = self._flops.get_total_flops()
        result = function(*args, **kwargs)
        counted = (self._flops.get_total_flops() - before) // 2
        self.multiply_adds[self._running[-1]] += counted
        field = self._field((args, kwargs))
        if field:
            features = sum(tensor in self._field_of for tensor in _tensors((args, kwargs)))
            call = effect(getattr(function, "__name__", ""), args, kwargs, result, features=features, cost=counted)
            for tensor in _tensors(result):
                self._field_of[tensor] = field.after(call)
        return result

    def _field(self, values: Any) -> Field | None:
        """The largest field among the tensors in `values`."""
        return max((self._field_of[tensor] for tensor in _tensors(values) if tensor in self._field_of), default=None)

    def _enter(self, name: str, _module: nn.Module, _inputs: Any) -> None:
        self._running.append(name)

    def _leave(self, name: str, module: nn.Module, _inputs: Any, output: Any) -> None:
        self._running.pop()
        if not any(module.children()):
            self.activation_bytes[name] += FLOAT32_BYTES * sum(tensor.numel() for tensor in _tensors(output))
        field = self._field([tensor for tensor in _tensors(output) if tensor.ndim == 4])
        if field and not field.undefined:
            self.fields[name] = field


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested containers."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
