"""Whether all losses were finite, kept on the device: to look at each there would mean to wait for it at every step."""

import torch
from torch import Tensor

from pipeline.train.ranks import Ranks

#: steps between two looks at another device; at the CPU every loss is looked at, as nothing waits there
LOOK_EVERY = 50
#: stands for a step that did not come
NEVER = 2**62


class Finite:
    """The first step, counted from 0, whose loss is not finite on any rank."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.look_every = 1 if ranks.device == "cpu" else LOOK_EVERY
        self._first = torch.tensor(NEVER, device=ranks.device)

    def note(self, loss: Tensor, step: int) -> None:
        """Note a step's loss, without a look at it."""
        self._first = torch.where(torch.isfinite(loss.detach()), self._first, self._first.clamp(max=step))

    def due(self, step: int) -> bool:
        """Whether to look after this step."""
        return (step + 1) % self.look_every == 0

    def failed_step(self) -> int | None:
        """The first step that failed on any rank; all ranks ask together."""
        return self._read(self.ranks.least(self._first.clone()))

    def failed_step_here(self) -> int | None:
        """The first step that failed on this rank."""
        return self._read(self._first)

    def _read(self, first: Tensor) -> int | None:
        step = int(first)
        return None if step == NEVER else step
