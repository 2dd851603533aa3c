"""A batch in parts that go through the network one after the other, where all at once do not fit in memory.

Their gradients are accumulated, so the step is that of the whole batch; only batch statistics are those of the parts.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

#: what torch says where the memory of the CPU is short, which has no error of its own
CPU_IS_FULL = "DefaultCPUAllocator"


def split(batch: Any, number: int) -> Iterator[tuple[Any, float]]:
    """A batch from `collate` in at most so many parts of nearly equal size, each with its fraction of the images."""
    count = len(batch[0])
    number = min(number, count)
    for index in range(number):
        start, stop = (count * end // number for end in (index, index + 1))
        yield batch if number == 1 else _part(batch, start, stop), (stop - start) / count


def _part(value: Any, start: int, stop: int) -> Any:
    """Tensors and lists are cut, tuples and dictionaries hold what is cut."""
    if isinstance(value, tuple):
        return tuple(_part(item, start, stop) for item in value)
    if isinstance(value, dict):
        return {name: _part(item, start, stop) for name, item in value.items()}
    return value[start:stop] if isinstance(value, Tensor | list) else value


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the CPU, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or (isinstance(error, RuntimeError) and CPU_IS_FULL in str(error))


def explain_shortage(error: BaseException, batch: int, number: int, device: str) -> str:
    """What was too much, and what is tried next: the number of parts."""
    memory = ""
    if device.startswith("cuda"):
        free, whole = torch.cuda.mem_get_info(device)
        memory = f"; {(whole - free) / 1e9:.1f} of {whole / 1e9:.1f} GB are in use"
    half = -(-batch // number)
    return (
        f"out of memory on {device} with {-(-2 * batch // number)} images at once{memory}. "
        f"Goes on with {half} at once and accumulates gradients; the batch stays {batch}"
    )
