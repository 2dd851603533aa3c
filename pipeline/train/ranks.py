"""A worker group: the processes that train one job together. With one process, every operation is the identity.

Only this module and group.py use torch.distributed. With one phase gradients are averaged by DDP, which overlaps the
average with the backward pass; with more phases by one all-reduce over the phase's own gradients, because two phases
inside one DDP wrapper fail.

What takes long, such as the end of another job, is waited for in the job queue (job_queue.py), so that a collective
that times out means a process that does not answer.
"""

import datetime
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
    """This process's rank in its worker group, the global ranks of the members, process groups, and the device."""

    rank: int = 0
    world: int = 1
    members: tuple[int, ...] = (0,)
    group: Any = None
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this process is rank 0, which writes the group's files."""
        return self.rank == 0

    def parallel(self, module: nn.Module, phases: int) -> nn.Module:
        """The module to call for losses."""
        if self.world == 1:
            return module
        if phases != 1:
            for value in module.state_dict().values():
                dist.broadcast(value, self.members[0], group=self.group)
            return module
        devices = [torch.device(self.device)] if self.device.startswith("cuda") else None
        return DistributedDataParallel(module, device_ids=devices, process_group=self.group)

    def average_gradients(self, parameters: Sequence[nn.Parameter], phases: int) -> None:
        """Average the gradients over the group; with one phase DDP has done it already."""
        if self.world == 1 or phases == 1:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = _flatten_dense_tensors(gradients)
        dist.all_reduce(flat, group=self.group)
        flat /= self.world
        for parameter, gradient in zip(parameters, _unflatten_dense_tensors(flat, gradients), strict=True):
            parameter.grad = gradient

    def broadcast_buffers(self, module: nn.Module) -> None:
        """Copy rank 0's running statistics to every rank, so that all of them validate the model that is stored."""
        if self.world > 1:
            for value in module.buffers():
                dist.broadcast(value, self.members[0], group=self.group)

    def sum(self, values: Tensor) -> Tensor:
        """Elementwise sum over the group."""
        if self.world > 1:
            dist.all_reduce(values, group=self.group)
        return values

    def least(self, values: Tensor) -> Tensor:
        """Elementwise minimum over the group."""
        if self.world > 1:
            dist.all_reduce(values, dist.ReduceOp.MIN, group=self.group)
        return values

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, in rank order."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value, group=self.group)
        return values

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value, on every rank."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, self.members[0], group=self.group)
        return box[0]


def form_worker_group(
    rank: int, world: int, width: int, device: str = "cpu", timeout: datetime.timedelta | None = None
) -> Ranks | None:
    """Form worker groups of `width` processes; this process's group, or None if it is left over.

    Every process of the world must call this with the same `world` and `width`; a collective waits for a
    process until `timeout`.
    """
    mine = None
    for first in range(0, world - width + 1, width):
        members = tuple(range(first, first + width))
        # the default timeout of a new group is the backend's, not the world's
        group = dist.new_group(list(members), timeout=timeout) if width > 1 else None
        if rank in members:
            mine = Ranks(rank - first, width, members, group, device)
    return mine
