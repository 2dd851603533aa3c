"""The contract of a task: a file of pipeline/tasks/ or plugins/tasks/.

An example is `pipeline/tasks/classification.py`; `convline new task NAME` writes one. Functions may be taken from
another task: `collate = classification.collate`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pipeline.contracts.members import TaskName, optional

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from pipeline.geometry.placement import Placement
    from pipeline.learners.base import Learner, Settings
    from pipeline.learners.baseline import Baseline
    from pipeline.sample import Facts, Sample
    from pipeline.shards import Shards

OutputType = Literal[
    "string", "double", "float", "long", "integer", "boolean", "binary", "string[]", "double[]", "float[]", "long[]"
]


class Task(Protocol):
    """What a network learns, predicts and is scored on; a prediction is a value of one image, of one type per task."""

    NEEDS: tuple[str, ...]
    """Fields that every sample must have (pipeline/sample.py); a dataset without them is refused before training."""

    CLASSES: Literal["classes", "semantic_classes"]
    """The dataset's list of classes that the network's outputs index."""

    PRIMARY: str
    """The score by which jobs are compared; one of those that `scorer` gives."""

    HIGHER_IS_BETTER: bool
    """Whether a larger primary score is better."""

    OUTPUT: dict[str, OutputType]
    """Fields of a served answer, with their types: the signature of registered models."""

    NETWORKS: TaskName | None = None
    """A task whose architectures do this one too: they are built as for that task."""

    GIVES: Literal["positions", "values", "images"] = "positions"
    """What a prediction is: positions in the image (boxes, masks, a label map), values of the whole image (its class),
    or an image of its own. It decides which `fit` a job can have.

    `crop` is refused for positions: what lies outside would have no answer. `letterbox` is refused for images, as they
    would have the padding, and for positions without `restore`.
    """

    MEANINGS: dict[str, str] | None = None
    """A sentence for each score, for the report; `recall[cat]` is looked up as `recall`."""

    BOUNDS: dict[str, tuple[float | None, float | None]] | None = None
    """The smallest and largest possible value of each score, within which intervals stay; None where there is none.

    `box_AP[cat]` is looked up as `box_AP`, then as `box_`, then as "", which stands for all that are not named."""

    UNDEFINED: dict[str, str] | None = None
    """What a split lacks where a score is undefined, such as `no box`; looked up as in BOUNDS."""

    ROWS_SEE_IMAGES: bool = True
    """Whether `rows` looks at the sample's pixels; where it is False, a validation decodes no image for its rows."""

    def learner(self, network: "nn.Module", settings: "Settings", **options: Any) -> "Learner":
        """What the loop trains: the network with its loss.

        Args:
            network: from the architecture's `build`.
            settings: classes, channels, size in pixels, mean and std.
            **options: keyword-only arguments with a default; `jobs.NAME.loss` in params.yaml sets them.
        """
        ...

    def collate(self, samples: "Sequence[Sample]", settings: "Settings") -> "tuple[Tensor, Any]":
        """A batch of samples of one size: images B×C×S×S uint8, and targets as `learner` expects them."""
        ...

    def rows(self, sample: "Sample", prediction: Any) -> dict[str, Any]:
        """What is stored of one test image: plain values with the same keys for all; scores follow from rows alone.

        Args:
            sample: the image at stored size, with its annotations.
            prediction: the learner's, for this image.

        Returns:
            Values by name, among them `severity`: how bad the mistake is, 0 for none.
        """
        ...

    def scorer(self, table: "pa.Table", settings: "Settings", **options: Any) -> "Callable[[Any], dict[str, float]]":
        """A function from row counts N (how often each row counts, for the bootstrap) to all scores.

        A score is nan where it is undefined, and its name is there all the same. Keyword-only arguments are settings of
        `evaluate` in params.yaml.
        """
        ...

    def figures(self, table: "pa.Table", settings: "Settings", **options: Any) -> "dict[str, Figure]":
        """Figures of the test rows by name; {} for none. Keyword-only arguments as in `scorer`."""
        ...

    def draw(self, sample: "Sample", prediction: Any, settings: "Settings") -> "NDArray[np.uint8]":
        """The image H×W×3 with its prediction, and with the truth where the sample has it."""
        ...

    def answer(self, sample: "Sample", prediction: Any, settings: "Settings") -> dict[str, Any]:
        """The served answer for one image: plain values with the fields of OUTPUT, in the image's own pixels."""
        ...

    def prediction(self, sample: "Sample", answered: dict[str, Any], settings: "Settings") -> Any:
        """The prediction that a served answer holds, to score a served model by the current code."""
        ...

    @optional
    def restore(self, prediction: Any, placement: "Placement") -> Any:
        """The prediction of a network's input, brought back to the image that lies in it.

        Args:
            prediction: the learner's.
            placement: where the image, of `placement.height`×`placement.width` pixels, lies in the input.
        """
        ...

    @optional
    def baseline(self, train: "Shards", settings: "Settings") -> "Baseline":
        """What needs no learning but counts and means of the train split; its score stands below those of all jobs."""
        ...

    @optional
    def missing(self, facts: "Facts", train: "Sequence[Sample]") -> str | None:
        """What the train split lacks, so that nothing can be learnt from it: `no box`; None if it lacks nothing.

        Jobs on such data are refused before training. Read no more of `train` than is needed.
        """
        ...

    @optional
    def comparable(self, tables: "Sequence[pa.Table]") -> str:
        """What makes rows comparable, equal for all tables; UserError if they can't be compared."""
        ...

    @optional
    def measured(
        self, predictions: Sequence[Any], samples: "Sequence[Sample]", extractor: "Learner", settings: "Settings"
    ) -> list[Any]:
        """Served predictions with what another job's model, the `extractor`, measures of them."""
        ...

    @optional
    def remark(self, scores: Mapping[str, float]) -> str | None:
        """A warning about scores during training; None if there is none."""
        ...

    @optional
    def model_figures(
        self, learner: "Learner", train: "Sequence[Sample]", held_out: "Sequence[Sample]"
    ) -> "dict[str, Figure]":
        """Figures by name that need the model itself, of stored train and test samples."""
        ...
