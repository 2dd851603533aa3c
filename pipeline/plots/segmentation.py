"""Pictures of segmentation: the confusion matrix, each class's IoU, and an image beside truth and prediction."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import images
from pipeline.learners.base import Settings
from pipeline.learners.segmenter import LabelMap
from pipeline.metrics.miou import iou, matrices, mean_defined
from pipeline.plots.figures import RED, bars_figure, confusion_figure, overlaid, palette, panels
from pipeline.sample import IGNORE, Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures(table: pa.Table, settings: Settings) -> dict[str, "Figure"]:
    """The confusion matrix as fractions of each true class's pixels, and the IoU of each class."""
    classes = settings.semantic_classes
    matrix = matrices(table, len(classes)).sum(axis=0).reshape(len(classes), len(classes))
    by_class = iou(matrix)
    mean = mean_defined(by_class)
    return {
        "confusion": confusion_figure(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1), classes),
        "IoU": bars_figure(by_class, classes, f"IoU (mean {mean:.3f})" if np.isfinite(mean) else "IoU (undefined)"),
    }


def draw(sample: Sample, prediction: LabelMap, settings: Settings) -> NDArray[np.uint8]:
    """Four panels, image, truth, prediction and wrong pixels, with a legend; without truth, image and prediction."""
    pixels, truth = sample.pixels, sample.semantic
    predicted = prediction.scaled(*pixels.shape[:2])
    shown_ids = np.setdiff1d(predicted if truth is None else [*np.unique(predicted), *np.unique(truth)], [IGNORE])
    legend = {settings.semantic_classes[value]: palette()[value] for value in shown_ids}
    if truth is None:
        return panels({"image": pixels, "prediction": overlaid(pixels, predicted)}, legend)
    wrong = (predicted != truth) & (truth != IGNORE)
    shown = {
        "image": pixels,
        "truth": overlaid(pixels, truth),
        "prediction": overlaid(pixels, predicted),
        f"wrong: {wrong.mean():.1%}": np.where(
            wrong[..., None], np.array(RED, np.uint8), images.luminance(pixels)[..., None]
        ),
    }
    return panels(shown, legend)
