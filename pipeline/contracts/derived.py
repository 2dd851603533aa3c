"""The contract of a derived field: a file of pipeline/augment/derived/ or plugins/derived/.

An example is `pipeline/augment/derived/border_weights.py`; `convline new derived NAME` writes one.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import Field

from pipeline.contracts.members import TransformName

if TYPE_CHECKING:
    from pipeline.sample import Sample


class Derived(Protocol):
    """An array that is computed once from a stored sample, in augment, and joined to samples in training."""

    FIELD: Literal["weight", "proposals"]
    """The field of Sample that it fills."""

    SPLITS: Annotated[tuple[Literal["train", "val", "test"], ...], Field(min_length=1)]
    """The splits that need it."""

    TRANSFORMS: tuple[TransformName, ...] | None = None
    """The only transforms that may be combined with it; by default all."""

    def build(self, **options: Any) -> "Callable[[Sample], Any]":
        """A function from a stored sample to the array: weights H×W float32, or boxes P×4 float32 xyxy in pixels.

        Keyword-only arguments with a default are set by `datasets.NAME.derived` in params.yaml.

        Raises:
            ValueError: an option is out of range; the text names it.
        """
        ...
