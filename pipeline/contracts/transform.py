"""The contract of a transform: a file of pipeline/augment/transforms/ or plugins/transforms/.

An example is `pipeline/augment/transforms/contrast.py`; `convline new transform NAME` writes one.
"""

from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from pipeline.contracts.members import TaskName


class Transform(Protocol):
    """One random change of a sample, applied with probability `p`."""

    OTHERS: Literal[0, 1, 3] = 0
    """How many other samples it mixes into the first."""

    TASKS: Annotated[tuple[TaskName, ...], Field(min_length=1)] | None = None
    """The only tasks that can be trained with the result; by default all."""

    NEEDS: tuple[str, ...] = ()
    """Fields that every sample must have (pipeline/sample.py); a dataset without them is refused before training."""

    BEFORE_FIT: bool = False
    """Whether it chooses the part of the stored image that is scaled to the job's size; it then comes first."""

    EXAMPLE: dict[str, Any] | None = None
    """Options for the tests, where some have no default."""

    def build(self, *, p: float, **options: Any) -> Any:
        """One of six things; all random numbers come from the generator that they are given.

        Args:
            p: the probability.
            **options: keyword-only arguments with a default; the entry in params.yaml sets them.

        Returns:
            A `RandomHomography` (transforms/parts/affine.py; consecutive ones cost one warp), or a transform of
            albumentations (a DualTransform must fill label maps with 255 from outside), or a `RandomOperations`
            (transforms/parts/operations.py), which samples homographies and functions of pixels, or with `OTHERS = 1` a
            `Mixing` (transforms/__init__.py), or with `OTHERS = 3` a `Joining` (transforms/parts/joining.py), or with
            `BEFORE_FIT = True` a `RandomWindow` (transforms/parts/window.py), which declares in `least_side` what
            fraction of the image's short side a part has at least.

        Raises:
            ValueError: an option is out of range; the text names it.
        """
        ...
