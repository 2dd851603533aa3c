"""Pictures of detections: hits green, false alarms red, what was missed yellow and dashed."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline import images
from pipeline.geometry import boxes as geometry
from pipeline.geometry import rle
from pipeline.learners.base import Settings
from pipeline.learners.detector import SHOWN, Detections, GroundTruth
from pipeline.metrics import coco_ap, oks
from pipeline.plots.figures import GREEN, RED
from pipeline.sample import Sample

YELLOW, GRAY = (255, 214, 0), (158, 158, 158)
COLORS = {coco_ap.WRONG: RED, coco_ap.RIGHT: GREEN, coco_ap.NEITHER: GRAY}
SIDE = 160
#: with more boxes than this an image is drawn larger, in thin lines and without words, which would hide it
CROWD, LARGE_SIDE = 12, 256
#: pixels of a dash and of the gap behind it
DASH = 4
#: how much of a mask's colour is mixed in
TINT = 0.45
Color = tuple[int, int, int]


def boxed(
    sample: Sample, prediction: Detections, settings: Settings, *, masks: bool = False, points: bool = False
) -> NDArray[np.uint8]:
    """The image, 160 pixels on its longer side, with what is found from a score of 0.5 on and what is not.

    Crowded ones are 256. Without truth all that is found is green. Points are dots, the true ones small and yellow.
    """
    height, width = sample.pixels.shape[:2]
    best = coco_ap.ranked(prediction.scores, prediction.labels)
    found = prediction.take(best[prediction.scores[best] >= SHOWN])
    truth = GroundTruth.of(sample)
    boxes = found.pixels(height, width)
    shapes = found.outlines(height, width) if masks else []
    if points:
        truth = oks.counting(truth)
        overlap = oks.overlap(found, truth, sample)
    elif masks:
        overlap = rle.iou(shapes, truth.masks, truth.crowd)
    else:
        overlap = geometry.iou(boxes, truth.boxes, truth.crowd)
    ignored = np.repeat(truth.ignored[:, None], len(coco_ap.AREAS), axis=1)
    other = np.zeros((len(boxes), len(coco_ap.AREAS)), np.bool_)
    verdict = coco_ap.verdicts(overlap, found.labels, other, truth.labels, ignored, truth.crowd)[:, 0, 0]
    colors = [GREEN if sample.boxes is None else COLORS[int(value)] for value in verdict]
    hit = (overlap >= coco_ap.OVERLAPS[0]) & (found.labels[:, None] == truth.labels)
    missed = np.flatnonzero(~truth.ignored & ~hit.any(axis=0))

    crowded = len(boxes) + len(missed) > CROWD
    scale, line = (LARGE_SIDE if crowded else SIDE) / max(height, width), 1 if crowded else 2
    tinted = _tinted(sample.pixels, shapes, colors)
    picture = Image.fromarray(images.resize(tinted, max(1, round(height * scale)), max(1, round(width * scale))))
    canvas = ImageDraw.Draw(picture)
    for place in missed:
        _dashed(canvas, truth.boxes[place] * scale, line)
        if not crowded:
            _caption(canvas, truth.boxes[place] * scale, settings.classes[truth.labels[place]], YELLOW)
    for box, label, score, color in zip(boxes * scale, found.labels, found.scores, colors, strict=True):
        canvas.rectangle(tuple(box), outline=color, width=line)
        if not crowded:
            _caption(canvas, box, f"{settings.classes[label]} {score:.2f}", color)
    if points:
        _dots(canvas, found.places(height, width), scale, colors, 2 * line)
        labelled = [] if truth.points is None else [thing[thing[:, 2] > 0] for thing in truth.points]
        _dots(canvas, labelled, scale, [YELLOW] * len(labelled), line)
    return np.asarray(picture)


def _dots(
    canvas: ImageDraw.ImageDraw, things: Iterable[NDArray[np.float64]], scale: float, colors: list[Color], radius: int
) -> None:
    for points, color in zip(things, colors, strict=True):
        for x, y in points[:, :2] * scale:
            canvas.circle((x, y), radius, fill=color, outline="black" if radius > 1 else None)


def _tinted(pixels: NDArray[np.uint8], shapes: list[bytes], colors: list[Color]) -> NDArray[np.uint8]:
    result = pixels.astype(np.float32)
    for shape, color in zip(shapes, colors, strict=False):
        inside = rle.decode(shape, *pixels.shape[:2])
        result[inside] = (1 - TINT) * result[inside] + TINT * np.array(color, np.float32)
    return result.astype(np.uint8)


def _dashed(canvas: ImageDraw.ImageDraw, box: NDArray[np.float64], width: int) -> None:
    left, top, right, bottom = box.tolist()
    for x in np.arange(left, right, 2 * DASH):
        for y in (top, bottom):
            canvas.line((x, y, min(x + DASH, right), y), fill=YELLOW, width=width)
    for y in np.arange(top, bottom, 2 * DASH):
        for x in (left, right):
            canvas.line((x, y, x, min(y + DASH, bottom)), fill=YELLOW, width=width)


def _caption(canvas: ImageDraw.ImageDraw, box: NDArray[np.float64], text: str, color: Color) -> None:
    """Text on a bar of the colour, above the box or, at the border, inside."""
    left, top = float(box[0]), float(box[1])
    top = top - 13 if top >= 13 else top
    canvas.rectangle((left, top, left + canvas.textlength(text, font_size=11) + 3, top + 12), fill=color)
    canvas.text((left + 2, top), text, fill="black" if color == YELLOW else "white", font_size=11)
