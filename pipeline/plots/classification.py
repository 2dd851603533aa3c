"""Pictures of classification: the confusion matrix, and images with their predicted class."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.learners.base import Settings
from pipeline.plots.figures import GREEN, RED, captioned
from pipeline.sample import Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures(table: pa.Table, settings: Settings) -> dict[str, "Figure"]:
    """The confusion matrix: rows are true classes, columns predicted ones."""
    from matplotlib.figure import Figure

    classes = settings.classes
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(matrix, (table["label"].to_numpy(), table["prediction"].to_numpy()), 1)
    side = min(max(4.0, 0.35 * len(classes) + 1.5), 32.0)  # inches
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", xticks=range(len(classes)), yticks=range(len(classes)))
    axes.set_xticklabels(classes, rotation=0 if max(map(len, classes)) < 4 else 90)
    axes.set_yticklabels(classes)
    if len(classes) <= 30:
        for (row, column), count in np.ndenumerate(matrix):
            dark = count > matrix[row].sum() / 2
            if count:
                axes.text(
                    column, row, str(count), ha="center", va="center", fontsize=8, color="white" if dark else "black"
                )
    return {"confusion": figure}


def draw(sample: Sample, prediction: NDArray[np.float32], settings: Settings) -> NDArray[np.uint8]:
    """The image with the predicted class and its probability; `6 as 5` in red if a 6 was classified as 5."""
    classes, predicted = settings.classes, int(prediction.argmax())
    text = f"{classes[predicted]} {prediction[predicted]:.2f}"
    if sample.label in (None, predicted):
        return captioned(sample.pixels, text, GREEN)
    return captioned(sample.pixels, f"{classes[sample.label]} as {text}", RED)
