"""Pictures of localization: the heat map with its box, and how many images are localized at which IoU."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline import images
from pipeline.learners.base import Settings
from pipeline.learners.localizer import ClassMaps
from pipeline.metrics.localization import HIT_IOU, best_iou
from pipeline.plots.figures import GREEN, RED, captioned
from pipeline.sample import Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: side of a picture in pixels, and the fraction of a pixel that is its heat
SIDE, COVER = 96, 0.5


def figures(table: pa.Table, settings: Settings) -> dict[str, "Figure"]:
    """How many images are localized, by the overlap that is asked for."""
    from matplotlib.figure import Figure

    correct = table["label"].to_numpy() == table["prediction"].to_numpy()
    asked = np.linspace(0, 1, 101)
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    for name, overlap in (("gt_known_loc", table["gt_known_iou"].to_numpy()), ("loc_acc", table["iou"].to_numpy())):
        hits = overlap[:, None] >= asked
        axes.plot(asked, (hits & correct[:, None] if name == "loc_acc" else hits).mean(axis=0), label=name)
    axes.axvline(HIT_IOU, color="grey", linewidth=0.8)
    axes.set(xlabel="IoU asked for", ylabel="share of images", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend()
    return {"overlap": figure}


def draw(sample: Sample, prediction: ClassMaps, settings: Settings) -> NDArray[np.uint8]:
    """The image under the predicted class's heat, the true boxes in white, the predicted one red if it is no hit."""
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
        _outline(pen, prediction.box(prediction.label, height, width) * scale, "#00e676")
        text = f"{settings.classes[prediction.label]} {prediction.probabilities[prediction.label]:.2f}"
        return captioned(np.asarray(canvas), text, GREEN)
    box = prediction.box(prediction.label, height, width)
    overlap, right = best_iou(sample, box), sample.label == prediction.label
    hit = right and overlap >= HIT_IOU
    for true_box in sample.boxes if sample.boxes is not None else ():
        _outline(pen, true_box * scale, "white")
    _outline(pen, box * scale, "#00e676" if hit else "#ff5252")
    name = settings.classes[int(sample.label)]
    text = f"{name} IoU {overlap:.2f}"
    if not right:
        text = f"{name} as {settings.classes[prediction.label]} {overlap:.2f}"
    return captioned(np.asarray(canvas), text, GREEN if hit else RED)


def _outline(pen: ImageDraw.ImageDraw, box: NDArray[Any], color: str) -> None:
    left, top, right, bottom = (round(float(value)) for value in box)
    pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color)
