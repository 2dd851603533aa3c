"""Pictures of precision against recall, by overlap and by class, from the verdicts in rows."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.learners.base import Settings
from pipeline.metrics import coco_ap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: places in OVERLAPS of the lines that are drawn
LEVELS = (0, 2, 5, 7, 9)
#: with more classes than colours, all lines are grey and only the mean has a name
COLORS, GRAY = 10, "0.7"


def curves(
    table: pa.Table, settings: Settings, prefix: str = "", *, detections: int = coco_ap.MOST[-1]
) -> dict[str, "Figure"]:
    """By name: one line an overlap, the mean over classes; and at half overlap one line a class, and their mean.

    prefix: `mask_` for outlines · detections: of an image and class that count.
    """
    known = coco_ap.evidence(table, len(settings.classes), f"{prefix}verdicts", detections)
    everything = np.ones(len(table), np.int64)
    values = np.stack([item.precisions(everything)[0] for item in known])
    name = f"{prefix}precision-recall".replace("_", "-")
    return {name: _by_overlap(values), f"{name}-by-class": _by_class(values[:, 0], settings.classes)}


def _by_overlap(values: NDArray[np.float64]) -> "Figure":
    """K×10×101 precisions: the mean over classes, one line an overlap."""
    figure, axes = _panel("precision, mean over classes")
    for level in LEVELS:
        axes.plot(coco_ap.RECALLS, _mean(values[:, level]), label=f"{coco_ap.OVERLAPS[level]:.2f}", color=f"C{level}")
    axes.legend(title="overlap", frameon=False)
    return figure


def _by_class(values: NDArray[np.float64], classes: tuple[str, ...]) -> "Figure":
    """K×101 precisions at half overlap: thin lines with the average precision of each, and their mean."""
    figure, axes = _panel("precision at overlap 0.50")
    few = len(classes) <= COLORS
    for place, (name, line) in enumerate(zip(classes, values, strict=True)):
        if not np.isnan(line).all():
            label, color = (f"{name} {line.mean():.2f}", f"C{place}") if few else ("_", GRAY)
            axes.plot(coco_ap.RECALLS, line, linewidth=0.8, label=label, color=color)
    middle = _mean(values)
    axes.plot(coco_ap.RECALLS, middle, label=f"mean {np.mean(middle):.2f}", color="black", linewidth=2)
    axes.legend(title="average precision", frameon=False, fontsize="small")
    return figure


def _panel(label: str) -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="recall", ylabel=label, xlim=(0, 1), ylim=(0, 1.02))
    return figure, axes


def _mean(lines: NDArray[np.float64]) -> list[float]:
    """K×101 → 101, of the classes that there are."""
    return [coco_ap.mean(column) for column in lines.T]
