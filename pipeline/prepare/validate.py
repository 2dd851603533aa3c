"""Whether a sample's annotations fit its image and its classes: each misfit with the value and the remedy."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import boxes, rle
from pipeline.sample import IGNORE, SPLITS, Classes, Fault, Sample
from pipeline.terminal import name_fault

MIN_SIDE = 2


def misnamed(classes: Classes) -> Iterator[Fault]:
    """A fault for each name that can't be shown as it is; no image can be left out for it."""
    for name in (*classes.things, *classes.semantic, *classes.points):
        if why := name_fault(name):
            yield Fault(f"class {name}", f"{why}. Rename it where it is given.")


def misfits(sample: Sample, classes: Classes) -> Iterator[str]:
    """Every reason why a decoded sample can't be used."""
    pixels = sample.pixels
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        yield f"the format gave {pixels.dtype} pixels of shape {pixels.shape}, not uint8 H×W×3. Mend the format."
        return
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        yield f"{width}×{height} pixels, less than {MIN_SIDE} a side. Remove it."
    for text in (sample.id, sample.group):
        if why := name_fault(text or ""):
            yield f"{text!r}: {why}. Rename it."
    if sample.split not in {None, *SPLITS}:
        yield f"split {sample.split!r} is none of {', '.join(SPLITS)}. Correct it."
    if sample.size not in {None, (height, width)}:
        yield _other_size(sample.size, height, width)
        return
    yield from _label(sample.label, classes.things)
    if sample.boxes is not None:
        yield from _boxes(sample.boxes, height, width)
    if sample.masks is not None:
        yield from _masks(sample.masks, height, width)
    if sample.points is not None:
        yield from _points(sample.points, height, width, classes.points)
    yield from _lengths(sample)
    if sample.labels is not None:
        for place, value in enumerate(sample.labels.tolist()):
            if not 0 <= value < len(classes.things):
                yield _outside(f"box {place}: class", value, classes.things)
    if sample.semantic is not None:
        yield from _semantic(sample.semantic, height, width, classes.semantic)


def _other_size(size: tuple[int, int] | None, height: int, width: int) -> str:
    wanted_height, wanted_width = size or (0, 0)
    turned = "the camera turned it, or " if (wanted_height, wanted_width) == (width, height) else ""
    return (
        f"annotated for {wanted_width}×{wanted_height} pixels, but the upright image has {width}×{height}: {turned}"
        "it was scaled after it was annotated. Restore the image, or export its annotations again."
    )


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
    given = {name: getattr(sample, name) for name in ("boxes", "labels", "masks", "crowd", "difficult", "points")}
    counts = {name: len(value) for name, value in given.items() if value is not None}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} {name}" for name, count in counts.items())
        yield f"counts differ: {listed}. Give one of each a thing."
    if counts and sample.labels is None:
        yield "boxes or masks without class labels. Label them."


def _boxes(corners: NDArray[np.float32], height: int, width: int) -> Iterator[str]:
    if corners.ndim != 2 or corners.shape[1] != 4:
        yield f"boxes of shape {corners.shape}, not N×4. Give x_min, y_min, x_max, y_max in pixels."
        return
    if len(corners) and corners.max() <= 1 and corners.min() >= 0:
        yield "all boxes lie in the first pixel: shares of the image, not pixels? Multiply by width and height."
        return
    for place, (x_min, y_min, x_max, y_max) in enumerate(corners.tolist()):
        box = f"box {place} [{x_min:g}, {y_min:g}, {x_max:g}, {y_max:g}]"
        if not np.isfinite([x_min, y_min, x_max, y_max]).all():
            yield f"{box} has a coordinate that is no number. Correct it."
        elif x_max < x_min or y_max < y_min:
            yield f"{box} has its corners swapped (x_min, y_min, x_max, y_max are wanted). Correct it."
        elif x_max == x_min or y_max == y_min:
            yield f"{box} has no area. Correct or remove it."
        elif x_max <= 0 or y_max <= 0 or x_min >= width or y_min >= height:
            yield f"{box} lies outside the {width}×{height} image. Correct or remove it."


def _masks(rles: Sequence[bytes], height: int, width: int) -> Iterator[str]:
    for place, mask in enumerate(rles):
        try:
            pixels = rle.area(mask, (height, width))
        except ValueError as error:
            yield f"mask {place}: {error}. Export it again."
            continue
        if not pixels:
            yield f"mask {place} covers no pixel. Draw it larger or remove the thing."


def _points(points: NDArray[np.float32], height: int, width: int, names: tuple[str, ...]) -> Iterator[str]:
    if points.ndim != 3 or points.shape[1:] != (len(names), 3) or not names:
        yield f"points of shape {points.shape}, not N×{len(names)}×3. Give x, y and visibility of each named point."
        return
    for place, thing in enumerate(points.tolist()):
        for name, (x, y, visibility) in zip(names, thing, strict=True):
            point = f"box {place}: point {name} [{x:g}, {y:g}, {visibility:g}]"
            if visibility not in {0, 1, 2}:
                yield f"{point} has none of the visibilities 0, 1 and 2. Correct it."
            elif not np.isfinite([x, y]).all():
                yield f"{point} has a coordinate that is no number. Correct it."
            elif visibility and not (0 <= x <= width and 0 <= y <= height):
                yield f"{point} lies outside the {width}×{height} image. Correct it, or set its visibility to 0."


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
    """Boxes cut at the image's border, and how many reached a pixel and more outside: less is rounding."""
    if sample.boxes is None:
        return sample, 0
    clipped = boxes.clip(sample.boxes, *sample.pixels.shape[:2])
    outside = int((np.abs(clipped - sample.boxes) >= 1).any(axis=1).sum())
    return replace(sample, boxes=clipped), outside
