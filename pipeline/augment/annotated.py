"""Images with their annotations, for a person to check: one as a tile, and a dozen as a sheet.

Boxes have class names where these are no wider than the box, masks are drawn as contours, keypoints as dots (rings
where hidden), a label map tints its pixels (ignored ones grey), and below the image stands its label, or the classes of
its label map.
"""

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline import images
from pipeline.augment import fields
from pipeline.sample import IGNORE, Facts, Sample

SIDE, BAR = 160, 18
DOZEN, DOZEN_COLUMNS, DOZEN_SIDE = 12, 4, 240
TINT = 0.4
#: radius of a keypoint
DOT = 3


def dozen(stored: Sequence[Sample], facts: Facts) -> NDArray[np.uint8]:
    """A dozen evenly spaced images as they are stored, at their own aspect, with their annotations."""
    chosen = images.spread(len(stored), DOZEN)
    tiles = [render(stored[int(index)], facts, DOZEN_SIDE) for index in chosen]
    return images.grid(tiles, DOZEN_COLUMNS, side=DOZEN_SIDE + BAR)


def render(item: Sample, facts: Facts, side: int = SIDE) -> NDArray[np.uint8]:
    """A tile `side` pixels wide: the image with its annotations, above a bar with its label."""
    height, width = item.pixels.shape[:2]
    pixels = item.pixels if item.semantic is None else _tint(item.pixels, item.semantic, facts)
    scale = side / max(height, width)
    tall, wide = max(1, round(height * scale)), max(1, round(width * scale))
    large = images.resize(pixels, tall, wide, smooth=scale < 1).copy()
    labels = [] if item.labels is None else item.labels.tolist()
    for label, mask in zip(labels, fields.masks(item), strict=False):
        large[_contour(images.resize(mask.astype(np.uint8), tall, wide, smooth=False))] = color(label)
    canvas = Image.new("RGB", (side, side + BAR), "black")
    canvas.paste(Image.fromarray(large), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for label, box in zip(labels, () if item.boxes is None else item.boxes * scale, strict=False):
        left, top, right, bottom = (float(value) for value in box)
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color(label))
        _write(draw, (left, top), right - left, _name(facts.classes, label), color(label))
    for label, keypoints in zip(labels, () if item.keypoints is None else item.keypoints.tolist(), strict=False):
        for x, y, visibility in (point for point in keypoints if point[2]):
            at, fill = (x * scale, y * scale), color(label) if visibility > 1 else None
            draw.circle(at, DOT, fill=fill, outline="black" if visibility > 1 else color(label))
    draw.rectangle((0, side, side, side + BAR), fill=(38, 50, 56))
    draw.text((3, side + 2), caption(item, facts), fill="white", font_size=12)
    return np.asarray(canvas)


def color(number: int) -> tuple[int, int, int]:
    """A saturated colour for a class, unlike those of neighbouring numbers; grey for IGNORE."""
    if number == IGNORE:
        return 128, 128, 128
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _tint(pixels: NDArray[np.uint8], ids: NDArray[np.uint8], facts: Facts) -> NDArray[np.uint8]:
    """Tint pixels by their ids: id 0, mostly the background, stays; an id has the colour of the class of its name."""
    colors = [color(number) for number in range(256)]
    for number, name in enumerate(facts.semantic_classes):
        if name in facts.classes:
            colors[number] = color(facts.classes.index(name))
    tinted = np.rint((1 - TINT) * pixels + TINT * np.array(colors)[ids]).astype(np.uint8)
    return np.where((ids == 0)[..., None], pixels, tinted)


def _contour(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels of the mask that have a neighbour outside it."""
    padded = np.pad(mask.astype(bool), 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return padded[1:-1, 1:-1] & ~inner


def _write(draw: Any, at: tuple[float, float], width: float, text: str, background: tuple[int, int, int]) -> None:
    """A name at the corner of its box, unless it is wider than the box and would hide others."""
    left, top, right, bottom = draw.textbbox(at, text, font_size=11)
    if right - left > width:
        return
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=background)
    draw.text(at, text, fill="black", font_size=11)


def _name(classes: Sequence[str], number: int) -> str:
    return classes[number] if number < len(classes) else str(number)


def caption(item: Sample, facts: Facts) -> str:
    """The image's label, the probabilities of a soft label, or the classes of its label map."""
    label = item.label
    if isinstance(label, np.ndarray):
        largest = np.argsort(label)[::-1][:2]
        return "  ".join(f"{_name(facts.classes, int(at))} {label[at]:.0%}" for at in largest if label[at] >= 0.005)
    if label is not None:
        return _name(facts.classes, label)
    ids = [] if item.semantic is None else np.setdiff1d(item.semantic, [0, IGNORE]).tolist()
    return ", ".join(_name(facts.semantic_classes, number) for number in ids)
