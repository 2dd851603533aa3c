"""coco: boxes, masks and keypoints from COCO's json, https://cocodataset.org/#format-data.

Common layouts are supported: the splits of Roboflow (`train/_annotations.coco.json` beside the images), COCO's own
layout (`annotations/instances_val2017.json`, images anywhere else), or one json for all. Polygons, compressed and
uncompressed run lengths become masks; polygons are rasterised as by pycocotools. Boxes are x, y, width, height from the
image's corner. A category 0 that no annotation uses and that is only a supercategory (Roboflow's) is dropped.
"""

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.prepare.formats.parts import coco_checks
from pipeline.prepare.formats.parts.coco_document import JSON_BYTES, Document, Entry, load
from pipeline.prepare.formats.parts.coco_objects import CORNERS, SIZE
from pipeline.prepare.formats.parts.coco_samples import Reading, label_map, samples
from pipeline.prepare.formats.parts.files import Tree, ignored, scan
from pipeline.prepare.formats.parts.finder import Finder
from pipeline.prepare.formats.parts.objects import text
from pipeline.sample import IGNORE, Classes, Fault, Sample

Names = list[PurePosixPath]
STORED = "stored"
#: json files outside the usual folders, at most; labelme has one per image
FEW = 20


def read(
    path: Path | None,
    *,
    annotations: str | list[str] | None = None,
    images: str | None = None,
    masks: bool = True,
    keypoints: bool = True,
    semantic: bool = False,
    boxes: str | None = None,
    orientation: str = "upright",
) -> Iterator[Classes | Sample | Fault]:
    """Samples of a folder with COCO json files.

    annotations: the json files, as patterns below the path: `labels/*.json`. Default: all `*.coco.json`, else
    `annotations/instances_*.json`, else all of `annotations/`, else those directly in the path, else a few elsewhere. A
    file or folder name with the word train, val, valid or test gives the split.
    images: the folder that `file_name` is relative to, or a pattern of folders: `*/images`; default: the json's, else
    the path itself, else any folder if the name is unique.
    masks: false reads no masks. keypoints: false reads no keypoints; all categories that have keypoints must name them
    alike. COCO's own are in `annotations/person_keypoints_*.json`.
    semantic: true also makes label maps from the masks, with a class `background` first; pixels of several classes are
    ignored.
    boxes: `corners` reads `bbox` as x_min, y_min, x_max, y_max; `size` as x, y, width, height, as by default, even if
    boxes look like corners.
    orientation: `stored` if the annotations are for the pixels as the files store them, before EXIF turns the image,
    or `upright`.
    """
    _check(boxes, (None, SIZE, CORNERS), "boxes")
    _check(orientation, ("upright", STORED), "orientation")
    tree = scan(path)
    chosen = _chosen(tree, annotations)
    documents = [load(tree.root, name) for name in chosen]
    finder = _finder(tree, images)
    classes, faults = _classes(documents)
    keypoint_names = _keypoints(documents) if keypoints else ()
    yield Classes(classes, ("background", *classes) if semantic else (), keypoint_names)
    yield from tree.faults
    if not chosen:
        yield Fault(".", "has no annotation file (*.json). Add it, or name it in the option `annotations`.")
    yield from faults
    with_masks = masks and any(entry.get("segmentation") for entry in _entries(documents))
    if semantic and (not with_masks or len(classes) >= IGNORE):
        counts = f"{len(classes)} classes and {'masks' if with_masks else 'no masks'}"
        raise UserError(f"option semantic: label maps need masks of at most {IGNORE - 1} classes; found {counts}.")
    yield from (fault for document in documents for fault in document.faults)
    files, faults = _find_images(documents, finder)
    yield from faults
    yield from _whole_set(tree, documents, files, boxes)
    reading = Reading(tree, classes, with_masks, len(keypoint_names), boxes or SIZE, orientation == STORED)
    for document, of_document in zip(documents, files, strict=True):
        for item in samples(document, of_document, reading):
            yield replace(item, semantic=label_map(item)) if semantic and isinstance(item, Sample) else item
    if finder.unused:
        reason = f"{len(finder.unused):,} images ignored that no json lists, such as {min(finder.unused)}"
        yield Fault(".", reason, warning=True)
    yield from ignored(
        tree, [name for name in tree.files if name.suffix.lower() not in SUFFIXES and name not in chosen]
    )


def _check(value: object, allowed: tuple[str | None, ...], option: str) -> None:
    if value not in allowed:
        listed = " or ".join(str(name) for name in allowed if name)
        raise UserError(f"option {option}: {value!r} is not {listed}. Correct it.")


def _finder(tree: Tree, images: str | None) -> Finder:
    if images is None:
        return Finder(tree, None, "images")
    if not isinstance(images, str) or not images:
        raise UserError(f"option images: {images!r} is not a folder. Name one, or a pattern such as `*/images`.")
    try:
        return Finder(tree, PurePosixPath(images.replace("\\", "/")), "images")
    except ValueError as error:
        raise UserError(f"option images: {error}.") from error


def _entries(documents: list[Document]) -> Iterator[Entry]:
    return (entry for document in documents for entries in document.annotations.values() for entry in entries)


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
            [name for name in files if _has_lists(tree.root / name)] if len(files) <= FEW else [],
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


def _has_lists(path: Path) -> bool:
    """Whether the text names the lists of COCO's json."""
    try:
        content = text(path, JSON_BYTES)
    except ValueError:
        return False
    return all(f'"{name}"' in content for name in ("annotations", "categories", "images"))


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
    if not any(entry.get("keypoints") for entry in _entries(documents)):
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


def _find_images(documents: list[Document], finder: Finder) -> tuple[list[coco_checks.Files], list[Fault]]:
    """The files of each document's images, and faults of images without."""
    files: list[coco_checks.Files] = [{} for _ in documents]
    faults = []
    for document, of_document in zip(documents, files, strict=True):
        for id, picture in document.pictures.items():
            try:
                of_document[id] = finder.find(picture.file_name, document.name)
            except ValueError as error:
                where = f"{document.name}: image {id} (file_name {picture.file_name!r})"
                faults.append(Fault(where, f"{error}."))
    return files, [*faults, *finder.warnings()]


def _whole_set(
    tree: Tree, documents: list[Document], files: list[coco_checks.Files], boxes: str | None
) -> Iterator[Fault]:
    """What concerns more than one image; files that are shared are removed."""
    yield from coco_checks.without_annotations(documents)
    yield from coco_checks.remove_shared(documents, files)
    if boxes is None:
        number = sum(1 for _ in _entries(documents))
        yield from coco_checks.written_as_corners(coco_checks.sized_boxes(tree.root, documents, files), number)
