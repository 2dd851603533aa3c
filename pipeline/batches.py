"""Items in batches that are bounded in number and in size."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def bounded(items: Iterable[Item], size: Callable[[Item], int], *, number: int, total: int) -> Iterator[list[Item]]:
    """Items in order, in lists that end where they have `number` items, or more than `total` in size.

    An item is taken when its list is.
    """
    batch: list[Item] = []
    held = 0
    for item in items:
        batch.append(item)
        held += size(item)
        if len(batch) == number or held > total:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
