"""Options that are a range."""

from collections.abc import Sequence

from pipeline.augment.transforms.parts.affine import within


def in_range(lowest: float, highest: float, **ranges: Sequence[float]) -> None:
    """Raise a ValueError that names the option unless it is two ascending numbers, both within lowest and highest."""
    for name, values in ranges.items():
        if len(values) != 2 or values[0] > values[1]:
            raise ValueError(f"{name} is {values}, not two numbers in ascending order")
        for value in values:
            within(lowest, highest, **{name: value})
