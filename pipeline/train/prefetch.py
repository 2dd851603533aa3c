"""Batches on their device: on CUDA the next is copied, by a stream of its own, while the device works on one."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from pipeline.train.loader import to_device


def on_device(batches: Iterable[Any], device: str) -> Iterator[Any]:
    """The batches in order, moved to a device; on CUDA, one that lies in pinned memory is moved ahead of its use."""
    if not device.startswith("cuda"):
        for batch in batches:
            yield to_device(batch, device)
        return
    copies = _copied(batches, device, torch.cuda.Stream(device))
    ahead = next(copies, None)
    while ahead is not None:
        batch, done = ahead
        ahead = next(copies, None)
        current = torch.cuda.current_stream(device)
        current.wait_event(done)  # the device waits for the copy, and this process for neither
        for tensor in _tensors(batch):
            tensor.record_stream(current)  # so that its memory is not used anew before the work on it is done
        yield batch


def _copied(batches: Iterable[Any], device: str, stream: Any) -> Iterator[tuple[Any, Any]]:
    """Each batch as it will be on the device, and what happens when it is there."""
    for batch in batches:
        with torch.cuda.stream(stream):
            moved = to_device(batch, device)
            done = torch.cuda.Event()
            done.record(stream)
        yield moved, done


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, list | tuple | dict):
        for item in batch.values() if isinstance(batch, dict) else batch:
            yield from _tensors(item)
