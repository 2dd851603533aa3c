"""Fewer of the digits, for tests that need a real data set and not all 1,797 images of it."""

import contextlib
import functools
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.prepare.formats import digits


@contextlib.contextmanager
def only(number: int) -> Iterator[None]:
    """While the block runs, prepare reads no more than the first `number` digits."""
    read = digits.read

    @functools.wraps(read)
    def few(*arguments: Any) -> Iterator[Any]:
        return itertools.islice(read(*arguments), 1 + number)  # the first item names the classes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "read", few)
        yield
