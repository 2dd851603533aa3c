"""coco: boxes, masks and key points from COCO's json, https://cocodataset.org/#format-data.

Read as found in the wild: the splits of Roboflow (`train/_annotations.coco.json` beside the images), COCO's own
layout (`annotations/instances_val2017.json`, images anywhere else), or one json for all. Polygons, compressed and
uncompressed run lengths become masks; polygons are drawn as pycocotools does. Boxes are x, y, width, height from
the image's corner. A category 0 that no annotation uses and that only heads the others (Roboflow's) is dropped.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.geometry.rle import decode
from pipeline.images import SUFFIXES, ImageError
from pipeline.prepare.formats.parts.coco_document import Document, load, thing
from pipeline.prepare.formats.parts.files import Tree, ignored, scan
from pipeline.prepare.formats.parts.objects import plain, sample, split_of, upright_size
from pipeline.sample import IGNORE, Classes, Fault, Sample

Names = list[PurePosixPath]


def read(
    path: Path | None,
    *,
    annotations: str | list[str] | None = None,
    images: str | None = None,
    masks: bool = True,
    points: bool = True,
    semantic: bool = False,
) -> Iterator[Classes | Sample | Fault]:
    """Samples of a folder with COCO json files.

    annotations: the json files, as patterns below the path: `labels/*.json`. If left out: all `*.coco.json`, else
    `annotations/instances_*.json`, else all of `annotations/`, else those right in the path. A file or folder name
    with the word train, val, valid or test gives the split.
    images: the folder that `file_name` counts from; if left out, the json's own, else wherever the name is unique.
    masks: false reads no masks, points: false no key points, which are read where annotations have any; all categories
    that have them must name them alike. COCO's own are in `annotations/person_keypoints_*.json`.
    semantic: true also makes label maps of the masks, with a class `background` first; pixels of several classes count
    for nothing.
    """
    tree = scan(path)
    chosen = _chosen(tree, annotations)
    documents = [load(tree.root, name) for name in chosen]
    classes, faults = _classes(documents)
    named = _points(documents) if points else ()
    yield Classes(classes, ("background", *classes) if semantic else (), named)
    yield from tree.faults
    if not chosen:
        yield Fault(".", "holds no annotation file (*.json). Add it, or name it by the option `annotations`.")
    yield from faults
    drawn = masks and any(
        entry.get("segmentation")
        for document in documents
        for entries in document.annotations.values()
        for entry in entries
    )
    if semantic and (not drawn or len(classes) >= IGNORE):
        told = f"{len(classes)} classes and {'masks' if drawn else 'no masks'}"
        raise UserError(f"option semantic: label maps need masks of at most {IGNORE - 1} classes; found {told}.")
    finder = _Finder(tree, images)
    for document in documents:
        yield from document.faults
        for item in _samples(tree, document, classes, finder, drawn, len(named)):
            yield replace(item, semantic=_label_map(item)) if semantic and isinstance(item, Sample) else item
    yield from finder.left()
    yield from ignored(
        tree, [name for name in tree.files if name.suffix.lower() not in SUFFIXES and name not in chosen]
    )


def _label_map(item: Sample) -> NDArray[np.uint8]:
    """1 + the class of the things at each pixel, 0 where there is none, and void where they are of several."""
    assert item.size is not None
    assert item.labels is not None
    ids = np.zeros(item.size, np.uint8)
    for label, mask in zip(item.labels.tolist(), item.masks or (), strict=True):
        inside = decode(mask, *item.size)
        ids[inside] = np.where(np.isin(ids[inside], (0, label + 1)), label + 1, IGNORE)
    return ids


def recognise(tree: Tree) -> dict[str, Any] | None:
    """No options, where a json that would be read lists images or is named as only COCO's are."""
    for name in _chosen(tree, None):
        if name.name.endswith(".coco.json") or name.name.startswith("instances_") or load(tree.root, name).pictures:
            return {}
    return None


def _chosen(tree: Tree, patterns: str | list[str] | None) -> Names:
    files = [name for name in tree.files if name.suffix.lower() == ".json"]
    if patterns is None:
        tiers: list[Names] = [
            [name for name in files if name.name.endswith(".coco.json")],
            [name for name in files if name.match("annotations/instances_*.json")],
            [name for name in files if name.match("annotations/*.json")],
            [name for name in files if len(name.parts) == 1],
        ]
        return next((tier for tier in tiers if tier), [])
    chosen: Names = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        found = [name for name in files if fnmatch(str(name), pattern)]
        if not found:
            there = ", ".join(map(str, files[:5])) or "none"
            raise UserError(f"option annotations: {pattern!r} matches no json file in {tree.root}. There are: {there}.")
        chosen += [name for name in found if name not in chosen]
    return chosen


def _classes(documents: list[Document]) -> tuple[tuple[str, ...], list[Fault]]:
    """Names of all categories in order of their ids, each once, and what is odd about them."""
    used: dict[str, int] = {}
    faults = []
    for document in documents:
        ids: dict[str, object] = {}
        taken = {entry["category_id"] for entries in document.annotations.values() for entry in entries}
        above = {heading for id, (_, heading) in document.categories.items() if id != 0}
        for id, (name, _) in sorted(document.categories.items(), key=lambda item: (isinstance(item[0], str), item[0])):
            if id == 0 and id not in taken and name in above:
                continue
            if name in ids:
                reason = f"categories {ids[name]} and {id} are both called {name!r} and count as one class"
                faults.append(Fault(str(document.name), reason, warning=True))
            ids[name] = id
            used.setdefault(name, len(used))
    return tuple(used), faults


def _points(documents: list[Document]) -> tuple[str, ...]:
    """Names of the key points, where an annotation has some; UserError where categories differ."""
    entries = (entry for document in documents for entries in document.annotations.values() for entry in entries)
    if not any(entry.get("keypoints") for entry in entries):
        return ()
    found = {
        names: f"{document.name}: category {id} ({', '.join(names)})"
        for document in documents
        for id, names in document.points.items()
    }
    if len(found) != 1:
        told = " and ".join([*found.values()][:2]) or "no category"
        raise UserError(
            f"annotations have keypoints, which all categories that have them must name alike; found {told}. "
            "Name them alike, or set the option `points: false`."
        )
    return next(iter(found))


class _Finder:
    """Which image file an annotation file means."""

    def __init__(self, tree: Tree, folder: str | None) -> None:
        try:
            self.folder = None if folder is None else plain("option images:", folder)
        except ValueError as error:
            raise UserError(f"{error}.") from error
        self.files = {name for name in tree.files if name.suffix.lower() in SUFFIXES}
        self.unused = set(self.files)
        self.named: dict[str, Names] = defaultdict(list)
        for name in sorted(self.files):
            self.named[name.name].append(name)

    def find(self, document: PurePosixPath, file_name: PurePosixPath) -> PurePosixPath:
        """The image's path; ValueError where there is none or no saying which."""
        place = (document.parent if self.folder is None else self.folder) / file_name
        if place in self.files:
            found = [place]
        elif self.folder is None:
            found = [name for name in self.named[file_name.name] if str(name).endswith(f"/{file_name}")]
            split = split_of(document)
            found = [name for name in found if split_of(name.parent) == split] if len(found) > 1 else found
        else:
            found = []
        if len(found) != 1:
            kind = "is no image file of the dataset" if not found else f"could be {found[0]} or {found[1]}"
            raise ValueError(
                f"file_name {str(file_name)!r} {kind}. Add the file, correct it or set the option `images`"
            )
        self.unused -= set(found)
        return found[0]

    def left(self) -> Iterator[Fault]:
        """A warning for images that no annotation file lists."""
        if self.unused:
            first = min(self.unused)
            yield Fault(".", f"{len(self.unused)} images ignored that no json lists, such as {first}", warning=True)


def _samples(
    tree: Tree, document: Document, classes: tuple[str, ...], finder: _Finder, drawn: bool, points: int
) -> Iterator[Sample | Fault]:
    labels = {id: classes.index(name) for id, (name, _) in document.categories.items() if name in classes}
    split = split_of(document.name)
    fields = ["crowd", *(["masks"] if drawn else []), *(["points"] if points else [])]
    for id, picture in document.pictures.items():
        try:
            name = finder.find(document.name, picture.file_name)
            size = picture.size or upright_size(tree.root / name)
        except (ValueError, ImageError) as error:
            yield Fault(f"{document.name}: image {id}", f"{str(error).removesuffix('.')}.")
            continue
        things, faults = [], []
        for entry in document.annotations.get(id, []):
            try:
                things.append(thing(entry, labels[entry["category_id"]], size if drawn else None, points))
            except ValueError as error:
                faults.append(Fault(f"{document.name}: annotation {entry['id']} ({name})", f"{error}."))
        yield from faults
        if not faults and id not in document.barred:
            yield sample(tree.root, name, things, fields, split=split, size=size, points=points)
