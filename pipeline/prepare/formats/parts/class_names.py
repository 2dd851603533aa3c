"""Names of classes that look like slips: they differ by case or blanks alone."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from pipeline.sample import Fault


def alike_classes(names: Iterable[str]) -> Iterator[Fault]:
    """A warning for each group of classes whose names differ by case or blanks alone."""
    for _, group in groupby(sorted(names, key=_letters), key=_letters):
        if len(same := list(group)) > 1:
            reason = f"{' and '.join(map(repr, same))} differ by case or blanks alone, and are {len(same)} classes"
            yield Fault("classes", reason, warning=True)


def _letters(name: str) -> str:
    return "".join(name.casefold().split())
