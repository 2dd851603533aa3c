"""The processes that train one job together: a lane. Alone, every operation is the identity.

Only this module and group.py speak to torch.distributed. With one phase gradients are averaged by DDP, which overlaps
them with the backward pass; with more phases by one all-reduce over the phase's own gradients, because two
phases inside one DDP wrapper fail.

A lane's processes may come to it, and leave the leader to its work at a job's end, at very different times. They
meet in a group of its own that is patient; between meetings a process that is late is lost, and the lane ends soon.
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

COLLECTIVE_TIMEOUT, MEETING_TIMEOUT = datetime.timedelta(minutes=5), datetime.timedelta(days=7)


@dataclass(frozen=True)
class Ranks:
    """This process's place in its lane: rank of world, the lane's global ranks, groups, and the device."""

    rank: int = 0
    world: int = 1
    members: tuple[int, ...] = (0,)
    group: Any = None
    device: str = "cpu"
    meeting: Any = None

    @property
    def leads(self) -> bool:
        """Whether this process writes for the lane."""
        return self.rank == 0

    def meet(self) -> None:
        """Wait for all of the lane, as long as it takes; if one of them dies, the others get an error at once."""
        if self.world > 1:
            dist.barrier(group=self.meeting)

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


def lane(rank: int, world: int, width: int, device: str = "cpu") -> Ranks | None:
    """This process's lane among those of `width` processes; None if it is left over. All of the world call it alike."""
    mine = None
    for first in range(0, world - width + 1, width):
        members = tuple(range(first, first + width))
        group = meeting = None
        if width > 1:  # the default timeout of a new group is the backend's, not the world's
            group = dist.new_group(list(members), timeout=COLLECTIVE_TIMEOUT)
            meeting = dist.new_group(list(members), timeout=MEETING_TIMEOUT, backend="gloo")
        if rank in members:
            mine = Ranks(rank - first, width, members, group, device, meeting)
    return mine
