"""Samples of a COCO json file, once the files of its images are known."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.rle import decode
from pipeline.images import ImageError
from pipeline.prepare.formats.parts.coco_checks import Files
from pipeline.prepare.formats.parts.coco_document import Document
from pipeline.prepare.formats.parts.coco_objects import to_object
from pipeline.prepare.formats.parts.files import Tree
from pipeline.prepare.formats.parts.objects import TURNED, sample, split_of, stored_size, upright_size
from pipeline.prepare.formats.parts.turning import turn
from pipeline.sample import IGNORE, Fault, Sample

#: suffixes of files in which cameras note how they were held
CAMERA = (".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Reading:
    """How annotations are read: number of keypoints per object, what `bbox` holds, whether images are not turned."""

    tree: Tree
    classes: tuple[str, ...]
    with_masks: bool
    keypoints: int
    boxes: str
    stored: bool


def samples(document: Document, files: Files, reading: Reading) -> Iterator[Sample | Fault]:
    """The samples of one json file, whose images are in `files`, and faults of the others."""
    numbers = {name: number for number, name in enumerate(reading.classes)}
    labels = {id: numbers[name] for id, (name, _) in document.categories.items() if name in numbers}
    split = split_of(document.name)
    fields = ["crowd", *(["masks"] if reading.with_masks else []), *(["keypoints"] if reading.keypoints else [])]
    for id, name in files.items():
        where = f"{document.name}: image {id} ({name})"
        try:
            size, orientation = _size(reading, name, document.pictures[id].size)
        except ValueError as error:
            yield Fault(where, f"{error}.", blocks=True)
            continue
        except ImageError as error:
            yield Fault(where, str(error))
            continue
        objects, faults = [], []
        for entry in document.annotations.get(id, []):
            try:
                mask_size = size if reading.with_masks else None
                label = labels[entry["category_id"]]
                item = to_object(entry, label, mask_size, reading.keypoints, reading.boxes)
                objects.append(turn(item, size, orientation))
            except ValueError as error:
                faults.append(
                    Fault(f"{document.name}: annotation {entry.get('id', 'without id')} ({name})", f"{error}.")
                )
        yield from faults
        if not faults and id not in document.excluded:
            upright = size[::-1] if orientation in TURNED else size
            yield sample(
                reading.tree.root, name, objects, fields, split=split, size=upright, keypoints=reading.keypoints
            )


def _size(reading: Reading, name: PurePosixPath, given: tuple[int, int] | None) -> tuple[tuple[int, int], int]:
    """Height and width of the image that is annotated, and the orientation by which its annotations are turned.

    ValueError if the annotations seem to be for the image as it is stored.
    """
    path = reading.tree.root / name
    if reading.stored:
        size, orientation = stored_size(path)
        return given or size, orientation
    if given is None:
        return upright_size(path), 1
    if given[0] != given[1] and name.suffix.lower() in CAMERA:
        size, orientation = stored_size(path)
        if orientation in TURNED and given == size:
            raise ValueError(
                "annotated as the file stores its pixels, before EXIF turns the image. If all annotations are so, set "
                "the option `orientation: stored`; else export them again for the upright images"
            )
    return given, 1


def label_map(item: Sample) -> NDArray[np.uint8]:
    """1 + the class of the object at each pixel, 0 without an object, IGNORE with objects of several classes."""
    assert item.size is not None
    assert item.labels is not None
    ids = np.zeros(item.size, np.uint8)
    for label, mask in zip(item.labels.tolist(), item.masks or (), strict=True):
        inside = decode(mask, *item.size)
        ids[inside] = np.where(np.isin(ids[inside], (0, label + 1)), label + 1, IGNORE)
    return ids
