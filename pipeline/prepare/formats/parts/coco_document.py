"""COCO's json, checked entry by entry: faults name the file, the entry and the field.

An image with a faulty annotation is excluded, since the missing object would be trained as background.
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.geometry import rle
from pipeline.images import MAX_PIXELS
from pipeline.prepare.formats.parts.objects import AnnotatedObject, plain, text
from pipeline.sample import Fault

JSON_BYTES = 2_000_000_000
FAR = 1e9
Entry = dict[str, Any]
Id = int | str


@dataclass(frozen=True, slots=True)
class Picture:
    """An entry of `images`: size is height and width, None where neither is given."""

    file_name: PurePosixPath
    size: tuple[int, int] | None


@dataclass(slots=True)
class Document:
    """One json file: categories by id as (name, supercategory), names of their keypoints, annotations by image id."""

    name: PurePosixPath
    categories: dict[Id, tuple[str, str]] = field(default_factory=dict)
    keypoints: dict[Id, tuple[str, ...]] = field(default_factory=dict)
    pictures: dict[Id, Picture] = field(default_factory=dict)
    annotations: dict[Id, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    faults: list[Fault] = field(default_factory=list)
    #: ids of images with faults
    excluded: set[Id] = field(default_factory=set)

    def add_fault(self, what: str, reason: str, image: object = None) -> None:
        """Add a fault, and exclude its image."""
        self.faults.append(Fault(f"{self.name}: {what}", f"{reason}."))
        if isinstance(image, Id):
            self.excluded.add(image)


def load(root: Path, name: PurePosixPath) -> Document:
    """Read and check one json file."""
    document = Document(name)
    try:
        content = json.loads(text(root / name, JSON_BYTES), object_pairs_hook=_unique)
        lists = {key: _entries(content, key) for key in ("categories", "images", "annotations")}
    except json.JSONDecodeError as error:
        document.faults.append(Fault(str(name), f"no valid JSON: {error}. Export it again."))
    except RecursionError:
        document.faults.append(Fault(str(name), "nested too deeply. Export it again."))
    except ValueError as error:
        document.faults.append(Fault(str(name), f"{error}."))
    else:
        _read_categories(document, lists["categories"])
        _read_pictures(document, lists["images"])
        _read_annotations(document, lists["annotations"])
    return document


def _unique(pairs: list[tuple[str, Any]]) -> Entry:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        where = f" (in the entry with id {entry['id']})" if "id" in entry else ""
        raise ValueError(f"the key {twice!r} is given twice in one object{where}. Remove one of the two")
    return entry


def _entries(content: Any, key: str) -> list[Entry]:
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"has no list {key!r} of objects, as COCO's instances have. Choose other files: `annotations`")
    for number, entry in enumerate(entries):
        if type(entry.get("id")) not in {int, str}:
            raise ValueError(
                f"entry {number} of {key!r}: id {entry.get('id')!r} is neither an integer nor a string. Correct it"
            )
    return entries


def _read_categories(document: Document, entries: list[Entry]) -> None:
    for entry in entries:
        what, name = f"category {entry['id']}", entry.get("name")
        if not isinstance(name, str) or not name.strip():
            document.add_fault(what, f"name {name!r} is not a string. Name the class")
        elif entry["id"] in document.categories:
            document.add_fault(what, f"{document.categories[entry['id']][0]!r} and {name!r} have this id. Renumber one")
        else:
            document.categories[entry["id"]] = (name.strip(), str(entry.get("supercategory")))
            if names := entry.get("keypoints"):
                _name_keypoints(document, entry["id"], names)


def _name_keypoints(document: Document, category: Id, names: Any) -> None:
    texts = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    if texts and len(set(names)) == len(names):
        document.keypoints[category] = tuple(names)
    else:
        document.add_fault(
            f"category {category}", f"keypoints {names!r} is not a list of different names. Name each once"
        )


def _read_pictures(document: Document, entries: list[Entry]) -> None:
    for entry in entries:
        id, what, file_name = entry["id"], f"image {entry['id']}", entry.get("file_name")
        if id in document.pictures:
            other = document.pictures[id].file_name
            document.add_fault(what, f"{str(other)!r} and {file_name!r} have this id. Give each image its own", id)
            continue
        try:
            document.pictures[id] = Picture(plain("file_name", file_name), _size(entry))
        except ValueError as error:
            document.add_fault(what, str(error), id)


def _size(entry: Entry) -> tuple[int, int] | None:
    height, width = entry.get("height"), entry.get("width")
    if height is None and width is None:
        return None
    if not (isinstance(height, int) and isinstance(width, int) and 0 < height * width <= MAX_PIXELS and height > 0):
        raise ValueError(f"width {width!r}, height {height!r}: not a valid image size. Give its pixels")
    return height, width


def _read_annotations(document: Document, entries: list[Entry]) -> None:
    image_ids = document.pictures.keys() | document.excluded
    owners: dict[Id, Any] = {}
    for entry in entries:
        what, image, category = f"annotation {entry['id']}", entry.get("image_id"), entry.get("category_id")
        if entry["id"] in owners:
            document.add_fault(what, "two annotations have this id. Give each its own", image)
            if isinstance(owner := owners[entry["id"]], Id):
                document.excluded.add(owner)
            continue
        owners[entry["id"]] = image
        if not isinstance(image, Id) or image not in image_ids:
            document.add_fault(
                what, f"image_id {image!r} is not an image of this file. Add the image or remove the annotation"
            )
        elif not isinstance(category, Id) or category not in document.categories:
            document.add_fault(what, f"category_id {category!r} is not a category of this file. Correct it", image)
        else:
            document.annotations[image].append(entry)
    if empty := sum(id not in document.annotations for id in document.pictures.keys() - document.excluded):
        count = f"{empty} image{'s' if empty > 1 else ''} without annotations, kept without objects"
        document.faults.append(Fault(str(document.name), count, warning=True))


def to_object(entry: Entry, label: int, size: tuple[int, int] | None, keypoints: int = 0) -> AnnotatedObject:
    """The object of an annotation, with its mask if the image's size is given; ValueError names field and remedy.

    keypoints: their number per object; an annotation without keypoints gets unlabelled ones.
    """
    crowd: Any = entry.get("iscrowd", 0)
    box: Any = entry.get("bbox")
    if crowd not in (0, 1):
        raise ValueError(f"iscrowd {crowd!r} is neither 0 nor 1. Correct it")
    if not _numbers(box) or len(box) != 4:
        raise ValueError(f"bbox {box!r} is not four finite numbers x, y, width, height. Correct it")
    x, y, width, height = box
    if width <= 0 or height <= 0:
        raise ValueError(f"bbox {box} has no area: its width and height must exceed 0. Correct or remove it")
    mask = None if size is None else _mask(entry.get("segmentation"), size)
    values = _keypoints(entry.get("keypoints"), keypoints) if keypoints else ()
    return AnnotatedObject(label, (x, y, x + width, y + height), mask, crowd=bool(crowd), keypoints=values)


def _keypoints(values: Any, count: int) -> tuple[float, ...]:
    if not values:
        return (0.0,) * 3 * count
    if not _numbers(values) or len(values) != 3 * count:
        raise ValueError(
            f"keypoints {values!r} are not x, y and visibility of {count} keypoints. Give {3 * count} numbers"
        )
    if invalid := set(values[2::3]) - {0, 1, 2}:
        raise ValueError(f"keypoints: visibility {min(invalid)} is not 0, 1 or 2. Correct it")
    return tuple(values)


def _mask(segmentation: Any, size: tuple[int, int]) -> bytes:
    if not segmentation:
        raise ValueError("has no segmentation, but others have. Draw it, or set the dataset's option `masks: false`")
    try:
        if isinstance(segmentation, dict):
            return _run_lengths(segmentation, size)
        return rle.encode_polygons(_polygons(segmentation), *size)
    except ValueError as error:
        raise ValueError(f"segmentation: {error}. Draw it again or remove the annotation") from error


def _polygons(segmentation: Any) -> list[list[float]]:
    polygons = [segmentation] if _numbers(segmentation) else segmentation
    if not isinstance(polygons, list) or not all(_numbers(item) for item in polygons):
        raise ValueError("neither polygons of finite numbers nor run lengths")
    return polygons


def _run_lengths(segmentation: Entry, size: tuple[int, int]) -> bytes:
    counts, given = segmentation.get("counts"), segmentation.get("size")
    if given != list(size):
        raise ValueError(f"size {given} is not the image's height and width {list(size)}")
    if isinstance(counts, list):
        return rle.encode_counts(counts, *size)
    if not isinstance(counts, str) or not counts.isascii():
        raise ValueError("counts is neither a list nor COCO's text")
    encoded = counts.encode()
    rle.area(encoded, size)
    return encoded


def _numbers(values: Any) -> bool:
    """Whether it is a list of numbers that can be pixels; json also allows NaN, true and huge integers."""
    return isinstance(values, list) and all(type(value) in {int, float} and abs(value) < FAR for value in values)
