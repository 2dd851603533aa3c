"""Pictures of localization: the class activation map with its box, and accuracy by IoU threshold."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline import images
from pipeline.learners.base import Settings
from pipeline.learners.localizer import ClassMaps
from pipeline.metrics.localization import MIN_IOU, best_iou
from pipeline.plots.figures import GREEN, RED, captioned
from pipeline.sample import Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: side of a picture in pixels, and the opacity of the map
SIDE, COVER = 96, 0.5


def figures(table: pa.Table, settings: Settings) -> dict[str, "Figure"]:
    """The fraction of localized images by IoU threshold, of those that have a true box; none if there are none."""
    from matplotlib.figure import Figure

    iou, gt_known_iou = table["iou"].to_numpy(), table["gt_known_iou"].to_numpy()
    has_box = np.isfinite(iou)
    if not has_box.any():
        return {}
    correct = (table["label"].to_numpy() == table["prediction"].to_numpy())[has_box]
    iou, gt_known_iou = iou[has_box], gt_known_iou[has_box]
    thresholds = np.linspace(0, 1, 101)
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(thresholds, (gt_known_iou[:, None] >= thresholds).mean(axis=0), label="gt_known_loc")
    localized = (iou[:, None] >= thresholds) & correct[:, None]
    axes.plot(thresholds, localized.mean(axis=0), label="localization_accuracy")
    axes.axvline(MIN_IOU, color="gray", linewidth=0.8)
    axes.set(xlabel="IoU threshold", ylabel="fraction of images", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend()
    return {"overlap": figure}


def draw(sample: Sample, prediction: ClassMaps, settings: Settings) -> NDArray[np.uint8]:
    """The image with the predicted class's map; true boxes white, the predicted one green, or red if it is wrong."""
    from matplotlib import colormaps

    height, width = sample.pixels.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    heat = prediction.heat(prediction.label, *size).clip(0)
    colors = 255 * colormaps["inferno"](heat / max(float(heat.max()), 1e-12))[..., :3]
    mixed = (1 - COVER) * images.resize(sample.pixels, *size, smooth=scale < 1) + COVER * colors
    canvas = Image.fromarray(mixed.astype(np.uint8))
    pen = ImageDraw.Draw(canvas)
    if sample.label is None:
        _rectangle(pen, prediction.box(prediction.label, height, width) * scale, "#00e676")
        text = f"{settings.classes[prediction.label]} {prediction.probabilities[prediction.label]:.2f}"
        return captioned(np.asarray(canvas), text, GREEN)
    box = prediction.box(prediction.label, height, width)
    iou, label_correct = best_iou(sample, box), sample.label == prediction.label
    correct = label_correct and not iou < MIN_IOU
    for true_box in sample.boxes if sample.boxes is not None else ():
        _rectangle(pen, true_box * scale, "white")
    _rectangle(pen, box * scale, "#00e676" if correct else "#ff5252")
    name = settings.classes[int(sample.label)]
    text = name if label_correct else f"{name} as {settings.classes[prediction.label]}"
    if np.isfinite(iou):
        text += f" IoU {iou:.2f}" if label_correct else f" {iou:.2f}"
    return captioned(np.asarray(canvas), text, GREEN if correct else RED)


def _rectangle(pen: ImageDraw.ImageDraw, box: NDArray[Any], color: str) -> None:
    left, top, right, bottom = (round(float(value)) for value in box)
    pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color)
