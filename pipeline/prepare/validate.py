"""Check a sample's annotations against its image and its classes; each fault names the value and the remedy."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import boxes, rle
from pipeline.sample import IGNORE, PER_OBJECT, SPLITS, Classes, Fault, Sample
from pipeline.terminal import name_fault

MIN_SIDE = 2
#: letters of a class's name: a caption is no class, and names of files and metrics hold it
MAX_NAME = 200


def misnamed(classes: Classes) -> Iterator[Fault]:
    """A fault for each class name that can't be displayed; it concerns the whole dataset."""
    for name in (*classes.names, *classes.semantic, *classes.keypoints):
        if why := name_fault(name):
            yield Fault(f"class {name}", f"{why}. Rename the class in the raw data.")
        if len(name) > MAX_NAME:
            what = f"its name has {len(name):,} letters, more than {MAX_NAME}"
            yield Fault(f"class {name[:40]}…", f"{what}. Give a short name of the class.")


def misfits(sample: Sample, classes: Classes) -> Iterator[str]:
    """All reasons why a decoded sample can't be used."""
    pixels = sample.pixels
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        yield f"the format gave {pixels.dtype} pixels of shape {pixels.shape}, not uint8 H×W×3. Fix the format's code."
        return
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        yield f"{width}×{height} pixels, less than {MIN_SIDE} per side. Remove it."
    for text in (sample.id, sample.group):
        if why := name_fault(text or ""):
            yield f"{text!r}: {why}. Rename it."
    if sample.split not in {None, *SPLITS}:
        yield f"split {sample.split!r} is not one of {', '.join(SPLITS)}. Correct it."
    if sample.size not in {None, (height, width)}:
        yield _other_size(sample.size, height, width)
        return
    yield from _label(sample.label, classes.names)
    if sample.boxes is not None:
        yield from _boxes(sample.boxes, height, width)
    if sample.masks is not None:
        yield from _masks(sample.masks, height, width)
    if sample.keypoints is not None:
        yield from _keypoint_faults(sample.keypoints, height, width, classes.keypoints)
    yield from _lengths(sample)
    if sample.labels is not None:
        for number, value in enumerate(sample.labels.tolist()):
            if not 0 <= value < len(classes.names):
                yield _outside(f"box {number}: class", value, classes.names)
    if sample.semantic is not None:
        yield from _semantic(sample.semantic, height, width, classes.semantic)


def _other_size(size: tuple[int, int] | None, height: int, width: int) -> str:
    wanted_height, wanted_width = size or (0, 0)
    turned = "the camera rotated it, or " if (wanted_height, wanted_width) == (width, height) else ""
    return (
        f"annotated for {wanted_width}×{wanted_height} pixels, but the upright image has {width}×{height}: {turned}"
        "it was scaled after it was annotated. Restore the image, or export its annotations again."
    )


def _outside(what: str, value: object, names: tuple[str, ...]) -> str:
    return f"{what} {value} is not in 0..{len(names) - 1}. Correct the annotation or name the class."


def _label(label: object, names: tuple[str, ...]) -> Iterator[str]:
    if label is None:
        return
    if isinstance(label, np.ndarray):
        if label.shape != (len(names),) or not np.isfinite(label).all():
            yield f"label vector of shape {label.shape} needs one finite probability for each of {len(names)} classes."
    elif not isinstance(label, int | np.integer) or not 0 <= label < len(names):
        yield _outside("label", label, names)


def _lengths(sample: Sample) -> Iterator[str]:
    """Fields with one entry per box must have equal lengths."""
    given = {name: getattr(sample, name) for name in PER_OBJECT}
    counts = {name: len(value) for name, value in given.items() if value is not None}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} {name}" for name, count in counts.items())
        yield f"counts differ: {listed}. Give one of each per object."
    if counts and sample.labels is None:
        yield "boxes or masks without class labels. Add the labels."


def _boxes(corners: NDArray[np.float32], height: int, width: int) -> Iterator[str]:
    if corners.ndim != 2 or corners.shape[1] != 4:
        yield f"boxes of shape {corners.shape}, not N×4. Give x_min, y_min, x_max, y_max in pixels."
        return
    if len(corners) and corners.max() <= 1 and corners.min() >= 0:
        yield "all boxes lie in the first pixel. If they are fractions of the image, multiply by width and height."
        return
    for number, (x_min, y_min, x_max, y_max) in enumerate(corners.tolist()):
        box = f"box {number} [{x_min:g}, {y_min:g}, {x_max:g}, {y_max:g}]"
        if not np.isfinite([x_min, y_min, x_max, y_max]).all():
            yield f"{box} has a coordinate that is not finite. Correct it."
        elif x_max < x_min or y_max < y_min:
            yield f"{box} has its corners swapped (x_min, y_min, x_max, y_max are wanted). Correct it."
        elif x_max == x_min or y_max == y_min:
            yield f"{box} has no area. Correct or remove it."
        elif x_max <= 0 or y_max <= 0 or x_min >= width or y_min >= height:
            yield f"{box} lies outside the {width}×{height} image. Correct or remove it."


def _masks(rles: Sequence[bytes], height: int, width: int) -> Iterator[str]:
    for number, mask in enumerate(rles):
        try:
            pixels = rle.area(mask, (height, width))
        except ValueError as error:
            yield f"mask {number}: {error}. Export it again."
            continue
        if not pixels:
            yield f"mask {number} covers no pixel. Draw it larger or remove the object."


def _keypoint_faults(keypoints: NDArray[np.float32], height: int, width: int, names: tuple[str, ...]) -> Iterator[str]:
    if keypoints.ndim != 3 or keypoints.shape[1:] != (len(names), 3) or not names:
        yield f"keypoints of shape {keypoints.shape}, not N×{len(names)}×3. Give x, y and visibility of each keypoint."
        return
    for number, values in enumerate(keypoints.tolist()):
        for name, (x, y, visibility) in zip(names, values, strict=True):
            point = f"box {number}: keypoint {name} [{x:g}, {y:g}, {visibility:g}]"
            if visibility not in {0, 1, 2}:
                yield f"{point} has a visibility other than 0, 1 and 2. Correct it."
            elif not np.isfinite([x, y]).all():
                yield f"{point} has a coordinate that is not finite. Correct it."
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
        yield f"label map: every pixel is {IGNORE} (ignore). Label or remove it."


def drop_copies(sample: Sample) -> tuple[Sample, int]:
    """Keep one of the objects that are equal in class, corners and all else; returns also how many were dropped.

    A copy can never be detected: of two equal boxes a prediction matches one, and the other counts as missed.
    """
    if sample.boxes is None or sample.labels is None or len(sample.boxes) < 2:
        return sample, 0
    given = {name: getattr(sample, name) for name in PER_OBJECT}
    given = {name: value for name, value in given.items() if value is not None}
    first: dict[tuple[object, ...], int] = {}
    for index in range(len(sample.boxes)):
        key = tuple(
            value[index] if isinstance(value[index], bytes) else value[index].tobytes() for value in given.values()
        )
        first.setdefault(key, index)
    kept = list(first.values())
    if len(kept) == len(sample.boxes):
        return sample, 0
    changes: dict[str, Any] = {
        name: value[kept] if isinstance(value, np.ndarray) else [value[index] for index in kept]
        for name, value in given.items()
    }
    return replace(sample, **changes), len(sample.boxes) - len(kept)


def clip_boxes(sample: Sample) -> tuple[Sample, int]:
    """Clip boxes to the image; returns also how many exceeded it by a pixel or more (less is rounding)."""
    if sample.boxes is None:
        return sample, 0
    clipped = boxes.clip(sample.boxes, *sample.pixels.shape[:2])
    outside = int((np.abs(clipped - sample.boxes) >= 1).any(axis=1).sum())
    return replace(sample, boxes=clipped), outside
