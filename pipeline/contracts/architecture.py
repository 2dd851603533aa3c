"""The contract of an architecture: a file of pipeline/models/ or plugins/models/.

Only `TASKS` and `build` are needed. An example is `pipeline/models/lenet5.py`; `convline new architecture NAME` writes
one.
"""

from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import BaseModel, Field

from pipeline.contracts.members import TaskName, optional

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pipeline.learners.base import Learner, Settings
    from pipeline.models.parts.spec import Spec


class Paper(BaseModel, extra="forbid"):
    """The published network, as a dictionary.

    input: channels, height and width · options: of `build` · parameters: trainable ones.
    """

    input: Annotated[list[int], Field(min_length=3, max_length=3)]
    classes: int
    options: dict[str, Any]
    parameters: int


class Small(BaseModel, extra="forbid"):
    """Settings for the tests, as a dictionary: side of the images in pixels, and options of `build`."""

    size: int
    options: dict[str, Any]


class Architecture(Protocol):
    """One architecture. Networks have no loss of their own, unless the file has a `learner`."""

    TASKS: Annotated[tuple[TaskName, ...], Field(min_length=1)]
    """Tasks that the network can do."""

    PAPER: Paper | None = None
    """The paper's settings and its number of parameters, which a test compares with the built network."""

    SMALL: Small | dict[TaskName, Small] | None = None
    """Settings for the tests, by task if tasks differ; by default those of PAPER, else images of 32 px."""

    LEVELS: tuple[str, ...] | None = None
    """Names of the submodules that output each level's feature map B×C×H×W, fine to coarse.

    A classifier with levels can be the backbone of other networks. Where they depend on options, `build` sets
    `network.anatomy` instead.
    """

    HEAD: str | None = None
    """Name of the last layer, whose input is the feature vector of an image."""

    NEEDS: tuple[str, ...] = ()
    """Derived fields (files of pipeline/augment/derived/) that the network reads beside the image."""

    OPTION_NEEDS: dict[str, tuple[str, ...]] | None = None
    """Option → fields that every sample must have where the option is set."""

    def build(self, spec: "Spec", **options: Any) -> "nn.Module":
        """A freshly initialised network.

        Args:
            spec: task, number of classes, image channels, image side in pixels, and keypoints per object.
            **options: keyword-only arguments with a default; `jobs.NAME.options` in params.yaml sets them.

        Returns:
            A module: images B×C×S×S float, normalized → logits B×classes, feature maps, detections or samples, as the
            task's learner expects them. Where it has a method `whole`, segmentation predicts with that; where it has
            `fit`, a detector's parts without gradients are fitted by it, once after training.

        Raises:
            UserError: an option is wrong; the text begins with the setting, as in `options.width: …`.
        """
        ...

    @optional
    def learner(self, network: "nn.Module", settings: "Settings", **options: Any) -> "Learner":
        """The learner, in place of the task's, where the loss is the network's own (see the contract of a task)."""
        ...

    @optional
    def normalization(self, **options: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of RGB in 0..1 that the network's published weights want.

        They are used where a job of color images starts from weights by name or from a file, also where the network is
        the `backbone` of another.
        """
        ...

    @optional
    def trace(self, network: "nn.Module", images: "Tensor") -> Any:
        """One forward pass B×C×S×S for counting, where `network(images)` is not enough (proposals, noise)."""
        ...
