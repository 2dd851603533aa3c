"""COCO's json, checked entry by entry: faults name the file, the entry and the field.

Numbers are read as tools write them (7, 7.0, "7"), and ids that nobody needs are not asked for. An image with a faulty
annotation is excluded, since the missing object would be trained as background.
"""

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.images import MAX_PIXELS
from pipeline.prepare.formats.parts.objects import text
from pipeline.sample import Fault

JSON_BYTES = 2_000_000_000
PLAIN_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,30}")
Entry = dict[str, Any]
Id = int | str


@dataclass(frozen=True, slots=True)
class Picture:
    """An entry of `images`: size is height and width, None where they are not given."""

    file_name: str
    size: tuple[int, int] | None


@dataclass(slots=True)
class Document:
    """One json file: categories by id as (name, supercategory), names of their keypoints, annotations by image id.

    An annotation is its entry, with `category_id` as the key of its category.
    """

    name: PurePosixPath
    categories: dict[Id, tuple[str, str]] = field(default_factory=dict)
    keypoints: dict[Id, tuple[str, ...]] = field(default_factory=dict)
    pictures: dict[Id, Picture] = field(default_factory=dict)
    annotations: dict[Id, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    faults: list[Fault] = field(default_factory=list)
    #: ids of images with faults
    excluded: set[Id] = field(default_factory=set)

    def add_fault(self, what: str, reason: str, image: Id | None = None, *, blocks: bool = False) -> None:
        """Add a fault, and exclude its image."""
        self.faults.append(Fault(f"{self.name}: {what}", f"{reason}.", blocks=blocks))
        if image is not None:
            self.excluded.add(image)

    def warn(self, reason: str) -> None:
        """Add a warning."""
        self.faults.append(Fault(str(self.name), reason, warning=True))


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


def number(value: object) -> float | None:
    """A number, also one that is written as text; None if it is none. Whole numbers are integers."""
    if type(value) is int:
        return value
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, float):
        return None
    return int(value) if value.is_integer() else value


def key(value: object) -> Id | None:
    """An id, where 7, 7.0 and "7" are one, but 7 and "07" two; None if it is neither a whole number nor text."""
    if isinstance(value, str):
        digits = value.removesuffix(".0")
        return int(digits) if PLAIN_INTEGER.fullmatch(digits) else value
    whole = number(value)
    return whole if isinstance(whole, int) else None


def _unique(pairs: list[tuple[str, Any]]) -> Entry:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if key in dict(pairs[:number]))
        where = f" (in the entry with id {entry['id']})" if "id" in entry else ""
        raise ValueError(f"the key {twice!r} is given twice in one object{where}. Remove one of the two")
    return entry


def _entries(content: Any, name: str) -> list[Entry]:
    entries = content.get(name) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(
            f"has no list {name!r} of objects, as COCO's instances have. Choose other files: `annotations`"
        )
    for index, entry in enumerate(entries):
        if name != "annotations" and key(entry.get("id")) is None:
            raise ValueError(
                f"entry {index} of {name!r}: id {entry.get('id')!r} is neither an integer nor a string. Correct it"
            )
    return entries


def _read_categories(document: Document, entries: list[Entry]) -> None:
    for entry in entries:
        what, name, id = f"category {entry['id']}", entry.get("name"), key(entry["id"])
        assert id is not None
        if not isinstance(name, str) or not name.strip():
            document.add_fault(what, f"name {name!r} is not a string. Name the class")
        elif document.categories.get(id, (name.strip(),))[0] != name.strip():
            document.add_fault(what, f"{document.categories[id][0]!r} and {name!r} have this id. Renumber one")
        else:
            document.categories[id] = (name.strip(), str(entry.get("supercategory")))
            if names := entry.get("keypoints"):
                _name_keypoints(document, id, names)


def _name_keypoints(document: Document, category: Id, names: Any) -> None:
    texts = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    if texts and len(set(names)) == len(names):
        document.keypoints[category] = tuple(names)
    else:
        document.add_fault(
            f"category {category}", f"keypoints {names!r} is not a list of different names. Name each once"
        )


def _read_pictures(document: Document, entries: list[Entry]) -> None:
    repeated = 0
    for entry in entries:
        id, what, file_name = key(entry["id"]), f"image {entry['id']}", entry.get("file_name")
        assert id is not None
        if not isinstance(file_name, str) or not file_name.strip():
            document.add_fault(what, f"file_name {file_name!r} is not a path. Name the file", id)
        elif id not in document.pictures:
            try:
                document.pictures[id] = Picture(file_name, _size(entry))
            except ValueError as error:
                document.add_fault(what, str(error), id)
        elif document.pictures[id].file_name == file_name:
            repeated += 1
        else:
            other = document.pictures[id].file_name
            reason = f"{other!r} and {file_name!r} have this id. Give each image its own"
            document.add_fault(what, reason, id, blocks=True)
    if repeated:
        document.warn(f"{repeated:,} entries of `images` repeat another and were dropped")


def _size(entry: Entry) -> tuple[int, int] | None:
    """Height and width; None where they are missing, or where a tool writes 0 or -1 because it does not know."""
    sides = [number(value) if value is not None else -1 for value in (entry.get("height"), entry.get("width"))]
    height, width = sides
    if not isinstance(height, int) or not isinstance(width, int) or max(0, height) * max(0, width) > MAX_PIXELS:
        given = f"width {entry.get('width')!r}, height {entry.get('height')!r}"
        raise ValueError(f"{given}: not a valid image size. Give its pixels")
    return (height, width) if min(height, width) > 0 else None


def _read_annotations(document: Document, entries: list[Entry]) -> None:
    ids = set[Id]()
    repeated = 0
    strays, unnamed = [], []
    for index, entry in enumerate(entries):
        if isinstance(id := entry.get("id"), Id):
            repeated += id in ids
            ids.add(id)
        image, category = key(entry.get("image_id")), key(entry.get("category_id"))
        if image is None or (image not in document.pictures and image not in document.excluded):
            strays.append(f"{_name(entry, index)} (image_id {entry.get('image_id')!r})")
        elif category not in document.categories:
            unnamed.append(f"{_name(entry, index)} (category_id {entry.get('category_id')!r})")
            document.excluded.add(image)
        else:
            entry["category_id"] = category
            document.annotations[image].append(entry)
    # if no annotation fits, what is left without them would be wrong
    for what in strays:
        reason = "its image is not in this file. Add the image or remove the annotation"
        document.add_fault(what, reason, blocks=len(strays) == len(entries))
    if unnamed and len(unnamed) == len(entries) and all(entry.get("category_id") is None for entry in entries):
        reason = f"none of the {len(entries):,} annotations has a category_id, so no object has a class. "
        remedy = "Give each object its class in the tool that drew them (VIA: a region attribute), and export again"
        document.add_fault("annotations", reason + remedy, blocks=True)
    else:
        for what in unnamed:
            reason = "its category is not in this file. Correct it"
            document.add_fault(what, reason, blocks=len(unnamed) == len(entries))
    if repeated:
        document.warn(f"{repeated:,} annotations have the id of another; ids of annotations are not read")
    if empty := sum(id not in document.annotations for id in document.pictures.keys() - document.excluded):
        document.warn(f"{empty} image{'s' if empty > 1 else ''} without annotations, kept without objects")


def _name(annotation: Entry, index: int) -> str:
    return f"annotation {annotation['id']}" if "id" in annotation else f"entry {index} of 'annotations'"
