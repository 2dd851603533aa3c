"""Pictures and figures that several tasks share."""

import colorsys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline import images
from pipeline.sample import IGNORE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREEN, RED = (46, 125, 50), (198, 40, 40)
_SIDE, _BAR = 96, 16
#: opacity of an id's color
_COVER = 0.6
#: hue step between successive ids, as a fraction of the circle; the golden ratio keeps all hues far apart
_GOLDEN = 0.618034
_MOST_NUMBERS = 15
#: letters of a name that fit beside its color
_LONGEST = 14


def captioned(pixels: NDArray[np.uint8], text: str, color: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The picture, 96 pixels on its longer side, with a colored caption below."""
    height, width = pixels.shape[:2]
    scale = _SIDE / max(height, width)
    tile = images.resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)), smooth=scale < 1)
    canvas = Image.new("RGB", (_SIDE, _SIDE + _BAR), "black")
    canvas.paste(Image.fromarray(tile), ((_SIDE - tile.shape[1]) // 2, (_SIDE - tile.shape[0]) // 2))
    pen = ImageDraw.Draw(canvas)
    pen.rectangle((0, _SIDE, _SIDE, _SIDE + _BAR), fill=color)
    pen.text((3, _SIDE + 2), text, fill="white", font_size=11)
    return np.asarray(canvas)


def palette() -> NDArray[np.uint8]:
    """A fixed color per id, 256×3: black for 0, then bright and darker hues in turn."""
    colors = [colorsys.hsv_to_rgb(number * _GOLDEN % 1, 0.9, 1 if number % 2 else 0.7) for number in range(256)]
    return (255 * np.array([(0, 0, 0), *colors[1:]])).astype(np.uint8)


def overlaid(pixels: NDArray[np.uint8], ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W×3 pixels mixed with the colors of H×W ids; void pixels stay as they are."""
    mixed = ((1 - _COVER) * pixels + _COVER * palette()[ids]).astype(np.uint8)
    return np.where((ids == IGNORE)[..., None], pixels, mixed)


def panels(
    pictures: Mapping[str, NDArray[np.uint8]], legend: Mapping[str, NDArray[np.uint8]] | None = None
) -> NDArray[np.uint8]:
    """Pictures of one size, two per row, each about 112 pixels with its name below; then a legend of colors."""
    side, gap, named = 112, 2, legend or {}
    bottom = -(-len(pictures) // 2) * (side + _BAR)
    canvas = Image.new("RGB", (2 * (side + gap), bottom - (-len(named) // 2) * _BAR), "white")
    pen = ImageDraw.Draw(canvas)
    for index, (name, pixels) in enumerate(pictures.items()):
        left, top = index % 2 * (side + 2 * gap), index // 2 * (side + _BAR)
        canvas.paste(Image.fromarray(images.grid([pixels], 1, side=side, gap=0)), (left, top))
        pen.text((left + 3, top + side + 1), name, fill="black", font_size=11)
    for index, (name, color) in enumerate(named.items()):
        left, top = index % 2 * (side + 2 * gap), bottom + index // 2 * _BAR
        pen.rectangle((left + 3, top + 3, left + 13, top + 13), fill=tuple(color.tolist()))
        pen.text((left + 17, top + 1), name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…", "black", font_size=11)
    return np.asarray(canvas)


def confusion_figure(fractions: NDArray[np.float64], names: Sequence[str]) -> "Figure":
    """A K×K confusion matrix whose rows, the true classes, sum to 1; with numbers in per cent if there is room."""
    from matplotlib.figure import Figure

    side = min(max(4.0, 0.4 * len(names) + 1.5), 32.0)  # inches
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", xticks=range(len(names)), yticks=range(len(names)))
    axes.set_xticklabels(names, rotation=0 if max(map(len, names)) < 4 else 90)
    axes.set_yticklabels(names)
    if len(names) <= _MOST_NUMBERS:
        for (row, column), fraction in np.ndenumerate(fractions):
            color = "white" if fraction > 0.5 else "black"
            axes.text(column, row, f"{fraction:.0%}"[:-1], ha="center", va="center", fontsize=8, color=color)
    return figure


def bars_figure(values: NDArray[np.float64], names: Sequence[str], title: str) -> "Figure":
    """One bar from 0 to 1 per name, the first on top; `absent` for a value that is nan."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, min(max(2.0, 0.25 * len(names) + 1), 32.0)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(names)), np.nan_to_num(values), color="#1565c0")
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), title=title)
    axes.set_yticklabels(names)
    for index, value in enumerate(values):
        text = f"{value:.2f}" if np.isfinite(value) else "absent"
        axes.text(0.01, index, text, va="center", fontsize=8, color="white" if value > 0.1 else "black")
    return figure
