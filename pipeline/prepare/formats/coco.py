"""coco: boxes, masks and keypoints from COCO's json, https://cocodataset.org/#format-data.

Common layouts are supported: the splits of Roboflow (`train/_annotations.coco.json` beside the images), COCO's own
layout (`annotations/instances_val2017.json`, images anywhere else), or one json for all. Polygons, compressed and
uncompressed run lengths become masks; polygons are rasterised as by pycocotools. Boxes are x, y, width, height from the
image's corner. A category 0 that no annotation uses and that is only a supercategory (Roboflow's) is dropped.
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
from pipeline.prepare.formats.parts.coco_document import Document, load, to_object
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
    keypoints: bool = True,
    semantic: bool = False,
) -> Iterator[Classes | Sample | Fault]:
    """Samples of a folder with COCO json files.

    annotations: the json files, as patterns below the path: `labels/*.json`. Default: all `*.coco.json`, else
    `annotations/instances_*.json`, else all of `annotations/`, else those directly in the path. A file or folder name
    with the word train, val, valid or test gives the split.
    images: the folder that `file_name` is relative to; default: the json's, else any folder if the name is unique.
    masks: false reads no masks. keypoints: false reads no keypoints; all categories that have keypoints must name them
    alike. COCO's own are in `annotations/person_keypoints_*.json`.
    semantic: true also makes label maps from the masks, with a class `background` first; pixels of several classes are
    ignored.
    """
    tree = scan(path)
    chosen = _chosen(tree, annotations)
    documents = [load(tree.root, name) for name in chosen]
    classes, faults = _classes(documents)
    keypoint_names = _keypoints(documents) if keypoints else ()
    yield Classes(classes, ("background", *classes) if semantic else (), keypoint_names)
    yield from tree.faults
    if not chosen:
        yield Fault(".", "has no annotation file (*.json). Add it, or name it in the option `annotations`.")
    yield from faults
    with_masks = masks and any(
        entry.get("segmentation")
        for document in documents
        for entries in document.annotations.values()
        for entry in entries
    )
    if semantic and (not with_masks or len(classes) >= IGNORE):
        counts = f"{len(classes)} classes and {'masks' if with_masks else 'no masks'}"
        raise UserError(f"option semantic: label maps need masks of at most {IGNORE - 1} classes; found {counts}.")
    finder = _Finder(tree, images)
    for document in documents:
        yield from document.faults
        for item in _samples(tree, document, classes, finder, with_masks, len(keypoint_names)):
            yield replace(item, semantic=_label_map(item)) if semantic and isinstance(item, Sample) else item
    yield from finder.left()
    yield from ignored(
        tree, [name for name in tree.files if name.suffix.lower() not in SUFFIXES and name not in chosen]
    )


def _label_map(item: Sample) -> NDArray[np.uint8]:
    """1 + the class of the object at each pixel, 0 without an object, IGNORE with objects of several classes."""
    assert item.size is not None
    assert item.labels is not None
    ids = np.zeros(item.size, np.uint8)
    for label, mask in zip(item.labels.tolist(), item.masks or (), strict=True):
        inside = decode(mask, *item.size)
        ids[inside] = np.where(np.isin(ids[inside], (0, label + 1)), label + 1, IGNORE)
    return ids


def recognise(tree: Tree) -> dict[str, Any] | None:
    """No options, if a json that would be read lists images or has a name of COCO's."""
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
        matching = [name for name in files if fnmatch(str(name), pattern)]
        if not matching:
            there = ", ".join(map(str, files[:5])) or "none"
            raise UserError(f"option annotations: {pattern!r} matches no json file in {tree.root}. There are: {there}.")
        chosen += [name for name in matching if name not in chosen]
    return chosen


def _classes(documents: list[Document]) -> tuple[tuple[str, ...], list[Fault]]:
    """Names of all categories in order of their ids, each once, and warnings."""
    used: dict[str, int] = {}
    faults = []
    for document in documents:
        ids: dict[str, object] = {}
        used_ids = {entry["category_id"] for entries in document.annotations.values() for entry in entries}
        supercategories = {heading for id, (_, heading) in document.categories.items() if id != 0}
        for id, (name, _) in sorted(document.categories.items(), key=lambda item: (isinstance(item[0], str), item[0])):
            if id == 0 and id not in used_ids and name in supercategories:
                continue
            if name in ids:
                reason = f"categories {ids[name]} and {id} are both called {name!r} and count as one class"
                faults.append(Fault(str(document.name), reason, warning=True))
            ids[name] = id
            used.setdefault(name, len(used))
    return tuple(used), faults


def _keypoints(documents: list[Document]) -> tuple[str, ...]:
    """Names of the keypoints, if any annotation has some; UserError if categories differ."""
    entries = (entry for document in documents for entries in document.annotations.values() for entry in entries)
    if not any(entry.get("keypoints") for entry in entries):
        return ()
    by_names = {
        names: f"{document.name}: category {id} ({', '.join(names)})"
        for document in documents
        for id, names in document.keypoints.items()
    }
    if len(by_names) != 1:
        categories = " and ".join([*by_names.values()][:2]) or "no category"
        raise UserError(
            f"annotations have keypoints, and all categories with keypoints must name them alike; found {categories}. "
            "Name them alike, or set the option `keypoints: false`."
        )
    return next(iter(by_names))


class _Finder:
    """Finds the image files that an annotation file names."""

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
        """The image's path; ValueError if there is none or several."""
        path = (document.parent if self.folder is None else self.folder) / file_name
        if path in self.files:
            matching = [path]
        elif self.folder is None:
            matching = [name for name in self.named[file_name.name] if str(name).endswith(f"/{file_name}")]
            split = split_of(document)
            matching = [name for name in matching if split_of(name.parent) == split] if len(matching) > 1 else matching
        else:
            matching = []
        if len(matching) != 1:
            kind = "is no image file of the dataset" if not matching else f"could be {matching[0]} or {matching[1]}"
            raise ValueError(
                f"file_name {str(file_name)!r} {kind}. Add the file, correct it or set the option `images`"
            )
        self.unused -= set(matching)
        return matching[0]

    def left(self) -> Iterator[Fault]:
        """A warning for images that no annotation file lists."""
        if self.unused:
            first = min(self.unused)
            yield Fault(".", f"{len(self.unused)} images ignored that no json lists, such as {first}", warning=True)


def _samples(
    tree: Tree, document: Document, classes: tuple[str, ...], finder: _Finder, with_masks: bool, keypoints: int
) -> Iterator[Sample | Fault]:
    labels = {id: classes.index(name) for id, (name, _) in document.categories.items() if name in classes}
    split = split_of(document.name)
    fields = ["crowd", *(["masks"] if with_masks else []), *(["keypoints"] if keypoints else [])]
    for id, picture in document.pictures.items():
        try:
            name = finder.find(document.name, picture.file_name)
            size = picture.size or upright_size(tree.root / name)
        except (ValueError, ImageError) as error:
            yield Fault(f"{document.name}: image {id}", f"{str(error).removesuffix('.')}.")
            continue
        objects, faults = [], []
        for entry in document.annotations.get(id, []):
            try:
                objects.append(to_object(entry, labels[entry["category_id"]], size if with_masks else None, keypoints))
            except ValueError as error:
                faults.append(Fault(f"{document.name}: annotation {entry['id']} ({name})", f"{error}."))
        yield from faults
        if not faults and id not in document.excluded:
            yield sample(tree.root, name, objects, fields, split=split, size=size, keypoints=keypoints)
