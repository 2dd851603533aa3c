"""The processes that train one job together: a lane. Alone, every operation is the identity.

Only this module speaks to torch.distributed. With one phase gradients are averaged by DDP, which overlaps
them with the backward pass; with more phases by one all-reduce over the phase's own gradients, because two
phases inside one DDP wrapper fail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Ranks:
    """This process's place in its lane: rank of world, the lane's global ranks and group, and the device."""

    rank: int = 0
    world: int = 1
    members: tuple[int, ...] = (0,)
    group: Any = None
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this process writes for the lane."""
        return self.rank == 0

    def parallel(self, module: nn.Module, phases: int) -> nn.Module:
        """The module to call for losses."""
        if self.world == 1:
            return module
        if phases > 1:
            for value in module.state_dict().values():
                dist.broadcast(value, self.members[0], group=self.group)
            return module
        devices = [torch.device(self.device)] if self.device.startswith("cuda") else None
        return DistributedDataParallel(module, device_ids=devices, process_group=self.group)

    def average_gradients(self, parameters: Sequence[nn.Parameter], phases: int) -> None:
        """Mean of the gradients over the lane; DDP has done it already where there is one phase."""
        if self.world == 1 or phases == 1:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = _flatten_dense_tensors(gradients)
        dist.all_reduce(flat, group=self.group)
        flat /= self.world
        for parameter, gradient in zip(parameters, _unflatten_dense_tensors(flat, gradients), strict=True):
            parameter.grad = gradient

    def share_buffers(self, module: nn.Module) -> None:
        """The leader's running statistics on every rank, so that all score the model that is stored."""
        if self.world > 1:
            for value in module.buffers():
                dist.broadcast(value, self.members[0], group=self.group)

    def sum(self, values: Tensor) -> Tensor:
        """Elementwise sum over the lane."""
        if self.world > 1:
            dist.all_reduce(values, group=self.group)
        return values

    def gather(self, value: Any) -> list[Any]:
        """The lane's values in rank order."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self.group)
        return values

    def share(self, value: Any) -> Any:
        """The leader's value, on every rank."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, self.members[0], group=self.group)
        return box[0]
