"""Pictures of detections: true positives green, false positives red, missed objects yellow and dashed."""

from collections.abc import Sequence

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
COLORS = {coco_ap.FALSE_POSITIVE: RED, coco_ap.TRUE_POSITIVE: GREEN, coco_ap.IGNORED: GRAY}
SIDE = 160
#: an image with more boxes than this is rendered larger, with thin lines and no captions, which would hide it
CROWD, LARGE_SIDE = 12, 256
#: pixels of a dash and of the gap after it
DASH = 4
#: opacity of a mask's color
TINT = 0.45
Color = tuple[int, int, int]


def render_detections(
    sample: Sample, prediction: Detections, settings: Settings, *, masks: bool = False, keypoints: bool = False
) -> NDArray[np.uint8]:
    """The image with its detections of a score of at least 0.5, and its missed objects.

    The longer side has 160 pixels, or 256 if there are many boxes. Without annotations all detections are green.
    Keypoints are dots; the true ones are small and yellow.
    """
    height, width = sample.pixels.shape[:2]
    ranked = coco_ap.rank_detections(prediction.scores, prediction.labels)
    detections = prediction.take(ranked[prediction.scores[ranked] >= SHOWN])
    truth = GroundTruth.of(sample)
    boxes = detections.boxes_in_pixels(height, width)
    encoded = detections.masks_in_pixels(height, width) if masks else []
    if keypoints:
        truth = oks.ignore_unlabelled(truth)
        overlap = oks.overlap(detections, truth, sample)
    elif masks:
        overlap = rle.iou(encoded, truth.masks, truth.crowd)
    else:
        overlap = geometry.iou(boxes, truth.boxes, truth.crowd)
    matches, missed = _match(detections, truth, overlap)
    colors = [GREEN if sample.boxes is None else COLORS[int(match)] for match in matches]

    crowded = len(boxes) + len(missed) > CROWD
    scale, line = (LARGE_SIDE if crowded else SIDE) / max(height, width), 1 if crowded else 2
    tinted = _tint(sample.pixels, encoded, colors)
    picture = Image.fromarray(images.resize(tinted, max(1, round(height * scale)), max(1, round(width * scale))))
    canvas = ImageDraw.Draw(picture)
    for index in missed:
        _dashed_box(canvas, truth.boxes[index] * scale, line)
        if not crowded:
            _caption(canvas, truth.boxes[index] * scale, settings.classes[truth.labels[index]], YELLOW)
    for box, label, score, color in zip(boxes * scale, detections.labels, detections.scores, colors, strict=True):
        canvas.rectangle(tuple(box), outline=color, width=line)
        if not crowded:
            _caption(canvas, box, f"{settings.classes[label]} {score:.2f}", color)
    if keypoints:
        _dots(canvas, detections.keypoints_in_pixels(height, width), scale, colors, 2 * line)
        labelled = [] if truth.keypoints is None else [item[item[:, 2] > 0] for item in truth.keypoints]
        _dots(canvas, labelled, scale, [YELLOW] * len(labelled), line)
    return np.asarray(picture)


def _match(
    detections: Detections, truth: GroundTruth, overlap: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """N matches at the lowest overlap threshold and for all areas, and the indices of missed objects."""
    ignored = np.repeat(truth.ignored[:, None], len(coco_ap.AREAS), axis=1)
    wrong_area = np.zeros((len(detections.labels), len(coco_ap.AREAS)), np.bool_)
    matches = coco_ap.match_detections(overlap, detections.labels, wrong_area, truth.labels, ignored, truth.crowd)
    detected = (overlap >= coco_ap.OVERLAPS[0]) & (detections.labels[:, None] == truth.labels)
    return matches[:, 0, 0], np.flatnonzero(~truth.ignored & ~detected.any(axis=0))


def _dots(
    canvas: ImageDraw.ImageDraw,
    keypoints: Sequence[NDArray[np.float64]] | NDArray[np.float64],
    scale: float,
    colors: list[Color],
    radius: int,
) -> None:
    """Dots at each object's keypoints, in the object's color."""
    for item, color in zip(keypoints, colors, strict=True):
        for x, y in item[:, :2] * scale:
            canvas.circle((x, y), radius, fill=color, outline="black" if radius > 1 else None)


def _tint(pixels: NDArray[np.uint8], masks: list[bytes], colors: list[Color]) -> NDArray[np.uint8]:
    """The pixels with each mask's color mixed in."""
    result = pixels.astype(np.float32)
    for mask, color in zip(masks, colors, strict=False):
        inside = rle.decode(mask, *pixels.shape[:2])
        result[inside] = (1 - TINT) * result[inside] + TINT * np.array(color, np.float32)
    return result.astype(np.uint8)


def _dashed_box(canvas: ImageDraw.ImageDraw, box: NDArray[np.float64], width: int) -> None:
    left, top, right, bottom = box.tolist()
    for x in np.arange(left, right, 2 * DASH):
        for y in (top, bottom):
            canvas.line((x, y, min(x + DASH, right), y), fill=YELLOW, width=width)
    for y in np.arange(top, bottom, 2 * DASH):
        for x in (left, right):
            canvas.line((x, y, x, min(y + DASH, bottom)), fill=YELLOW, width=width)


def _caption(canvas: ImageDraw.ImageDraw, box: NDArray[np.float64], text: str, color: Color) -> None:
    """Text on a bar of the color, above the box; inside it at the image's upper edge."""
    left, top = float(box[0]), float(box[1])
    top = top - 13 if top >= 13 else top
    canvas.rectangle((left, top, left + canvas.textlength(text, font_size=11) + 3, top + 12), fill=color)
    canvas.text((left + 2, top), text, fill="black" if color == YELLOW else "white", font_size=11)
