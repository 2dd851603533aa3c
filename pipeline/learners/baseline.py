"""What a task's trivial baseline is: it learns no more than counts and means, and gives scores a scale."""

from collections.abc import Callable
from typing import Any, NamedTuple

from pipeline.sample import Sample


class Baseline(NamedTuple):
    """A title in words, and the prediction of a sample in the image's own pixels.

    sees_images: whether it looks at the sample's pixels, which are black otherwise.
    """

    title: str
    predict: Callable[[Sample], Any]
    sees_images: bool = False
