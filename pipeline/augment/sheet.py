"""The contact sheet: what a policy makes of some images, with all annotations drawn, for a person to judge.

A row an image: as stored, then as training may see it. Boxes carry class names, masks are outlined, points are dots
(rings where hidden), a label map tints its pixels (ignored ones grey), and below stands the label, or what the label
map shows.
"""

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline import images, sample
from pipeline.augment import fields
from pipeline.augment.policy import Policy, Settings
from pipeline.sample import IGNORE, Facts, Sample
from pipeline.seeds import seed_of

ROWS, COLUMNS, SIDE, BAR = 6, 8, 160, 18
TINT = 0.4
#: radius of a point
DOT = 3


def sheet(stored: Sequence[Sample], settings: Settings, facts: Facts) -> NDArray[np.uint8]:
    """Evenly chosen images, a row each."""
    change, tiles = Policy(settings, len(facts.classes), facts.points), []
    for place in images.spread(len(stored), ROWS):
        original = _enlarged(stored[int(place)])
        side = original.pixels.shape[0]

        def other(number: int, side: int = side) -> Sample:
            return sample.resized(stored[number % len(stored)], side, side)

        tiles.append(drawn(original, facts))
        for column in range(COLUMNS - 1):
            tiles.append(drawn(change(original, seed_of("sheet", int(place), column), other), facts))
    return images.grid(tiles, COLUMNS, side=SIDE + BAR)


def _enlarged(original: Sample) -> Sample:
    """Square, as training sees it, and not too small to be turned."""
    side = max(32, *original.pixels.shape[:2])
    return sample.resized(original, side, side)


def drawn(changed: Sample, facts: Facts) -> NDArray[np.uint8]:
    """The image SIDE pixels wide with its annotations, over a bar with its label."""
    height, width = changed.pixels.shape[:2]
    pixels = changed.pixels if changed.semantic is None else _tinted(changed.pixels, changed.semantic, facts)
    scale = SIDE / max(height, width)
    tall, wide = max(1, round(height * scale)), max(1, round(width * scale))
    large = images.resize(pixels, tall, wide, smooth=scale < 1).copy()
    labels = [] if changed.labels is None else changed.labels.tolist()
    for label, mask in zip(labels, fields.masks(changed), strict=False):
        large[_outline(images.resize(mask.astype(np.uint8), tall, wide, smooth=False))] = color(label)
    canvas = Image.new("RGB", (SIDE, SIDE + BAR), "black")
    canvas.paste(Image.fromarray(large), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for label, box in zip(labels, () if changed.boxes is None else changed.boxes * scale, strict=False):
        left, top, right, bottom = (float(value) for value in box)
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color(label))
        _write(draw, (left, top), _name(facts.classes, label), color(label))
    for label, points in zip(labels, () if changed.points is None else changed.points.tolist(), strict=False):
        for x, y, visibility in (point for point in points if point[2]):
            at, fill = (x * scale, y * scale), color(label) if visibility > 1 else None
            draw.circle(at, DOT, fill=fill, outline="black" if visibility > 1 else color(label))
    draw.rectangle((0, SIDE, SIDE, SIDE + BAR), fill=(38, 50, 56))
    draw.text((3, SIDE + 2), caption(changed, facts), fill="white", font_size=12)
    return np.asarray(canvas)


def color(number: int) -> tuple[int, int, int]:
    """A strong colour for a class, far from its neighbours'; grey for what is ignored."""
    if number == IGNORE:
        return 128, 128, 128
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def _tinted(pixels: NDArray[np.uint8], ids: NDArray[np.uint8], facts: Facts) -> NDArray[np.uint8]:
    """Id 0, mostly the background, stays as it is; an id has the colour of the class of its name."""
    colors = [color(number) for number in range(256)]
    for number, name in enumerate(facts.semantic_classes):
        if name in facts.classes:
            colors[number] = color(facts.classes.index(name))
    tinted = np.rint((1 - TINT) * pixels + TINT * np.array(colors)[ids]).astype(np.uint8)
    return np.where((ids == 0)[..., None], pixels, tinted)


def _outline(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels of the mask that touch what is not."""
    padded = np.pad(mask.astype(bool), 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return padded[1:-1, 1:-1] & ~inner


def _write(draw: Any, at: tuple[float, float], text: str, background: tuple[int, int, int]) -> None:
    left, top, right, bottom = draw.textbbox(at, text, font_size=11)
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=background)
    draw.text(at, text, fill="black", font_size=11)


def _name(classes: Sequence[str], number: int) -> str:
    return classes[number] if number < len(classes) else str(number)


def caption(changed: Sample, facts: Facts) -> str:
    """The image's label, or the shares of a mixed one, or what its label map shows."""
    label = changed.label
    if isinstance(label, np.ndarray):
        largest = np.argsort(label)[::-1][:2]
        return "  ".join(f"{_name(facts.classes, int(at))} {label[at]:.0%}" for at in largest if label[at] >= 0.005)
    if label is not None:
        return _name(facts.classes, label)
    ids = [] if changed.semantic is None else np.setdiff1d(changed.semantic, [0, IGNORE]).tolist()
    return ", ".join(_name(facts.semantic_classes, number) for number in ids)
