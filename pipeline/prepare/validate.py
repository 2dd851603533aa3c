"""Whether a sample's annotations fit its image and its classes: each misfit with the value and the remedy."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.sample import IGNORE, SPLITS, Classes, Sample

MIN_SIDE = 2


def misfits(sample: Sample, classes: Classes) -> Iterator[str]:
    """Every reason why a decoded sample can't be used."""
    pixels = sample.pixels
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        yield f"the format gave {pixels.dtype} pixels of shape {pixels.shape}, not uint8 H×W×3. Mend the format."
        return
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        yield f"{width}×{height} pixels, less than {MIN_SIDE} a side. Remove it."
    if sample.split not in {None, *SPLITS}:
        yield f"split {sample.split!r} is none of {', '.join(SPLITS)}. Correct it."
    yield from _label(sample.label, classes.things)
    if sample.boxes is not None:
        yield from _boxes(sample.boxes, height, width)
    yield from _lengths(sample)
    if sample.labels is not None:
        for place, value in enumerate(sample.labels.tolist()):
            if not 0 <= value < len(classes.things):
                yield _outside(f"box {place}: class", value, classes.things)
    if sample.semantic is not None:
        yield from _semantic(sample.semantic, height, width, classes.semantic)


def _outside(what: str, found: object, names: tuple[str, ...]) -> str:
    return f"{what} {found} is not in 0..{len(names) - 1}. Correct the annotation or name the class."


def _label(label: object, names: tuple[str, ...]) -> Iterator[str]:
    if label is None:
        return
    if isinstance(label, np.ndarray):
        if label.shape != (len(names),) or not np.isfinite(label).all():
            yield f"label vector of shape {label.shape} needs a finite share for each of {len(names)} classes."
    elif not isinstance(label, int | np.integer) or not 0 <= label < len(names):
        yield _outside("label", label, names)


def _lengths(sample: Sample) -> Iterator[str]:
    """Everything that is listed a box must be as long as the boxes."""
    given = {name: getattr(sample, name) for name in ("boxes", "labels", "masks", "crowd", "difficult")}
    counts = {name: len(value) for name, value in given.items() if value is not None}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} {name}" for name, count in counts.items())
        yield f"counts differ: {listed}. Give one of each a thing."
    if counts and sample.labels is None:
        yield "boxes or masks without class labels. Label them."


def _boxes(boxes: NDArray[np.float32], height: int, width: int) -> Iterator[str]:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        yield f"boxes of shape {boxes.shape}, not N×4. Give x_min, y_min, x_max, y_max in pixels."
        return
    if len(boxes) and boxes.max() <= 1 and boxes.min() >= 0:
        yield "all boxes lie in the first pixel: shares of the image, not pixels? Multiply by width and height."
        return
    for place, (x_min, y_min, x_max, y_max) in enumerate(boxes.tolist()):
        box = f"box {place} [{x_min:g}, {y_min:g}, {x_max:g}, {y_max:g}]"
        if not np.isfinite([x_min, y_min, x_max, y_max]).all():
            yield f"{box} has a coordinate that is no number. Correct it."
        elif x_max < x_min or y_max < y_min:
            yield f"{box} has its corners swapped (x_min, y_min, x_max, y_max are wanted). Correct it."
        elif x_max == x_min or y_max == y_min:
            yield f"{box} has no area. Correct or remove it."
        elif x_max <= 0 or y_max <= 0 or x_min >= width or y_min >= height:
            yield f"{box} lies outside the {width}×{height} image. Correct or remove it."


def _semantic(ids: NDArray[np.uint8], height: int, width: int, names: tuple[str, ...]) -> Iterator[str]:
    if ids.shape != (height, width) or ids.dtype != np.uint8:
        size = "×".join(map(str, ids.shape[1::-1] + ids.shape[2:]))
        yield f"label map of {size} {ids.dtype} for an image of {width}×{height}. Export it again as 8-bit ids."
        return
    counts = np.bincount(ids.ravel(), minlength=256)
    for value in np.flatnonzero(counts[:IGNORE]):
        if value >= len(names):
            yield _outside(f"label map: {counts[value]} pixels of id", value, names)
    if counts[IGNORE] == ids.size:
        yield f"label map: every pixel is {IGNORE} (ignore), so nothing can be learnt. Label or remove it."


def clip_boxes(sample: Sample) -> tuple[Sample, int]:
    """Boxes cut at the image's border, and how many reached outside it."""
    if sample.boxes is None:
        return sample, 0
    height, width = sample.pixels.shape[:2]
    clipped = np.clip(sample.boxes, 0, np.array([width, height, width, height], np.float32))
    outside = int((clipped != sample.boxes).any(axis=1).sum())
    return replace(sample, boxes=clipped.astype(np.float32)), outside
