"""Figures of precision against recall, by overlap and by class, from the matches in rows."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.learners.base import Settings
from pipeline.metrics import coco_ap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: indices in OVERLAPS of the lines that are plotted
LEVELS = (0, 2, 5, 7, 9)
#: with more classes than colors, all lines are gray and only the mean is in the legend
COLORS, GRAY = 10, "0.7"


def curves(
    table: pa.Table, settings: Settings, prefix: str = "box_", *, detections: int = coco_ap.LIMITS[-1]
) -> dict[str, "Figure"]:
    """By name: one line per overlap, the mean over classes; and at overlap 0.5 one line per class, and their mean.

    None without true objects, where precision and recall are undefined.

    prefix: `box_` for boxes, `mask_` for masks, `keypoint_` for keypoints · detections: limit per image and class.
    """
    by_class = coco_ap.matches_by_class(table, len(settings.classes), f"{prefix}matches", detections)
    counts = np.ones(len(table), np.int64)
    values = np.stack([item.precisions(counts)[0] for item in by_class])
    if np.isnan(values).all():
        return {}
    name = f"{prefix}precision-recall".replace("_", "-")
    return {name: _by_overlap(values), f"{name}-by-class": _by_class(values[:, 0], settings.classes)}


def _by_overlap(values: NDArray[np.float64]) -> "Figure":
    """K×10×101 precisions: the mean over classes, one line per overlap."""
    figure, axes = _panel("precision, mean over classes")
    for level in LEVELS:
        axes.plot(coco_ap.RECALLS, _mean(values[:, level]), label=f"{coco_ap.OVERLAPS[level]:.2f}", color=f"C{level}")
    axes.legend(title="overlap", frameon=False)
    return figure


def _by_class(values: NDArray[np.float64], classes: tuple[str, ...]) -> "Figure":
    """K×101 precisions at overlap 0.5: a thin line per class with its average precision, and the mean."""
    figure, axes = _panel("precision at overlap 0.50")
    few = len(classes) <= COLORS
    for index, (name, line) in enumerate(zip(classes, values, strict=True)):
        if not np.isnan(line).all():
            label, color = (f"{name} {line.mean():.2f}", f"C{index}") if few else ("_", GRAY)
            axes.plot(coco_ap.RECALLS, line, linewidth=0.8, label=label, color=color)
    means = _mean(values)
    axes.plot(coco_ap.RECALLS, means, label=f"mean {np.mean(means):.2f}", color="black", linewidth=2)
    axes.legend(title="average precision", frameon=False, fontsize="small")
    return figure


def _panel(label: str) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="recall", ylabel=label, xlim=(0, 1), ylim=(0, 1.02))
    return figure, axes


def _mean(lines: NDArray[np.float64]) -> list[float]:
    """K×101 → 101: the mean over classes with true objects."""
    return [coco_ap.mean(column) for column in lines.T]
