"""yolo: boxes and polygons from YOLO's text files, https://docs.ultralytics.com/datasets/detect/ and /segment/.

`data.yaml` names the classes and the folders of the splits; an image `…/images/a.jpg` has its label file in
`…/labels/a.txt`, one line per object: `class x_center y_center width height`, or `class x y x y x y …` for a polygon,
as fractions of the image's upright size. Common exports are supported: folders of `data.yaml` that exist on another
machine only (Roboflow's `../train/images`, Colab's `/content/…`) are matched by their last parts, and an image without
a label file has no objects.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline import safe_yaml
from pipeline.geometry import rle
from pipeline.images import SUFFIXES, ImageError
from pipeline.prepare.formats.parts.files import Tree, ignored, scan
from pipeline.prepare.formats.parts.objects import AnnotatedObject, plain, sample, text, upright_size
from pipeline.sample import Classes, Fault, Sample

Names = list[PurePosixPath]
SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
#: by how much exporters' rounding may exceed 0 and 1
SLACK = 0.01
#: folders that a message names
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a label file: fractions of the image, four for a box, six or more for a polygon."""

    number: int
    label: int
    fractions: tuple[float, ...]


def read(path: Path | None, *, data: str = "data.yaml", masks: bool = True) -> Iterator[Classes | Sample | Fault]:
    """Samples of a folder with data.yaml, images and label files.

    data: the YAML file with `names` and the folders of `train`, `val` and `test`.
    masks: false reads polygons as boxes only.
    """
    tree = scan(path)
    try:
        settings = _settings(tree, plain("option data:", data))
        names = _names(settings)
        listed = _listed(tree, settings, data)
    except ValueError as error:
        yield Classes()
        yield from tree.faults
        yield Fault(data, f"{error}.")
        return
    yield Classes(names)
    yield from tree.faults
    yield from listed.faults
    yield from _samples(tree, listed, len(names), masks)
    left = [name for name in tree.files if name.suffix.lower() in SUFFIXES and name not in listed.images]
    if left:
        reason = f"{len(left)} images ignored that are in no folder of {data}, such as {left[0]}"
        yield Fault(".", reason, warning=True)
    used = {PurePosixPath(data), *map(label_file, listed.images)}
    yield from ignored(tree, [name for name in tree.files if name.suffix.lower() not in SUFFIXES and name not in used])


def recognise(tree: Tree) -> dict[str, Any] | None:
    """The option `data` if a YAML file names classes and folders; no options if there are only label files."""
    for name in tree.files:
        if len(name.parts) == 1 and name.suffix.lower() in {".yaml", ".yml"}:
            with contextlib.suppress(ValueError):
                settings = _settings(tree, name)
                if _names(settings) and _listed(tree, settings, str(name)).images:
                    return {} if name.name == "data.yaml" else {"data": str(name)}
    there = set(tree.files)
    labels = (label_file(name) for name in tree.files if name.suffix.lower() in SUFFIXES)
    return {} if any("labels" in name.parts and name in there for name in labels) else None


def _settings(tree: Tree, name: PurePosixPath) -> dict[str, Any]:
    if name not in tree.files:
        there = [str(file) for file in tree.files if file.suffix in {".yaml", ".yml"}]
        hint = f"Set the option `data` to one of: {', '.join(there[:5])}" if there else "Write one: `names`, `train`"
        raise ValueError(f"no such file in the dataset. {hint}")
    settings = safe_yaml.load(text(tree.root / name))
    if not isinstance(settings, dict) or not settings:
        raise ValueError("has no settings. Give at least `names` and `train`")
    if "kpt_shape" in settings:
        raise ValueError("`kpt_shape`: keypoints are not supported. Export boxes or polygons")
    return settings


def _names(settings: dict[str, Any]) -> tuple[str, ...]:
    names, count = settings.get("names"), settings.get("nc")
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise ValueError("`names`: its keys are not 0, 1, 2, …. Number the classes so")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ValueError("`names` is not a list of class names. Give one, in the order of their numbers")
    if count not in (None, len(names)):
        raise ValueError(f"`nc` is {count}, but `names` has {len(names)}. Correct one of the two")
    for number, name in enumerate(names):
        if name is None or isinstance(name, list | dict):
            raise ValueError(f"`names`: the name of class {number} is not a string. Correct it")
    texts = tuple(str(name) for name in names)
    if len(set(texts)) < len(texts):
        raise ValueError("`names` has a name twice. Rename one")
    return texts


@dataclass(slots=True)
class _Listed:
    """Images with their split, and the faults of the folders."""

    images: dict[PurePosixPath, str]
    faults: list[Fault]


def _listed(tree: Tree, settings: dict[str, Any], data: str) -> _Listed:
    listed = _Listed({}, [])
    for key, split in SPLITS.items():
        folders = settings.get(key) or []
        for folder in folders if isinstance(folders, list) else [folders]:
            if not isinstance(folder, str) or folder.endswith(".txt"):
                raise ValueError(
                    f"`{key}`: {folder!r} is not a folder (lists of files are not supported). Name a folder of images"
                )
            images = _folder(tree, folder)
            if images is None:
                # exports name a test folder, even if the split is empty
                reason = (
                    f"`{key}`: no folder ends with {folder!r}; {_image_folders(tree)}. Correct it or remove the line."
                )
                listed.faults.append(Fault(data, reason, warning=split == "test"))
                continue
            inside = [name for name in tree.files if images in name.parents and name.suffix.lower() in SUFFIXES]
            if any(listed.images.get(name, split) != split for name in inside):
                reason = f"`{key}`: {str(images)!r} is the folder of another split, too. Its images stay in that one"
                listed.faults.append(Fault(data, reason, warning=True))
            if not inside:
                listed.faults.append(Fault(str(images), f"the folder of `{key}` has no image. Add images."))
            listed.images |= {name: split for name in inside if name not in listed.images}
    if not listed.images and not listed.faults:
        raise ValueError("names no folder of images. Give at least `train`")
    return listed


def _image_folders(tree: Tree) -> str:
    """The folders that have images, as a hint."""
    there = sorted({str(name.parent) for name in tree.files if name.suffix.lower() in SUFFIXES})
    more = ", …" if len(there) > SHOWN else ""
    return f"images are in {', '.join(there[:SHOWN])}{more}" if there else "no folder has images"


def _folder(tree: Tree, written: str) -> PurePosixPath | None:
    """The folder that data.yaml names: the longest suffix of its path that exists."""
    parts = [part for part in PurePosixPath(written.replace("\\", "/")).parts if part not in {"/", "..", "."}]
    ends = (PurePosixPath(*parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if end in tree.folders), None)


def label_file(image: PurePosixPath) -> PurePosixPath:
    """The path of an image's label file: the last folder `images` of its path becomes `labels`."""
    parts = list(image.with_suffix(".txt").parts)
    for index in reversed(range(len(parts) - 1)):
        if parts[index] == "images":
            return PurePosixPath(*parts[:index], "labels", *parts[index + 1 :])
    return PurePosixPath(*parts)


def _samples(tree: Tree, listed: _Listed, classes: int, masks: bool) -> Iterator[Sample | Fault]:
    there = set(tree.files)
    lines: dict[PurePosixPath, list[Line]] = {}
    excluded, unlabelled = set(), 0
    for image in listed.images:
        file = label_file(image)
        lines[image], reasons = _lines(tree.root / file, classes) if file in there else ([], [])
        unlabelled += file not in there
        yield from (Fault(f"{file}{line}", reason) for line, reason in reasons)
        excluded |= {image} if reasons else set()
    if unlabelled and unlabelled == len(listed.images):
        yield Fault(".", f"no image has a label file, such as {label_file(next(iter(lines)))}. Add the folder.")
        return
    if unlabelled:
        yield Fault(".", f"{unlabelled} images without a label file, kept without objects", warning=True)
    with_masks = masks and any(len(line.fractions) > 4 for listed_lines in lines.values() for line in listed_lines)
    for image, split in listed.images.items():
        boxes = [line.number for line in lines[image] if with_masks and len(line.fractions) == 4]
        for number in boxes:
            reason = (
                "a box, where other lines are polygons. Draw the polygon, or set the dataset's option `masks: false`."
            )
            yield Fault(f"{label_file(image)}: line {number}", reason)
        if image in excluded or boxes:
            continue
        try:
            size = upright_size(tree.root / image)
        except ImageError as error:
            yield Fault(str(image), str(error))
            continue
        objects, faults = [], []
        for line in lines[image]:
            try:
                objects.append(_to_object(line, size, with_masks))
            except ValueError as error:
                faults.append(Fault(f"{label_file(image)}: line {line.number}", f"{error}. Draw it again."))
        yield from faults
        if not faults:
            yield sample(tree.root, image, objects, ("masks",) if with_masks else (), split=split, size=size)


def _lines(path: Path, classes: int) -> tuple[list[Line], list[tuple[str, str]]]:
    """Lines of a label file, and its faults as (line, reason)."""
    try:
        rows = text(path).splitlines()
    except ValueError as error:
        return [], [("", f"{error}.")]
    lines, reasons = [], []
    for number, row in enumerate(rows, start=1):
        try:
            if row.strip():
                lines.append(_line(number, row.split(), classes))
        except ValueError as error:
            reasons.append((f": line {number}", f"{error}."))
    return lines, reasons


def _line(number: int, words: list[str], classes: int) -> Line:
    try:
        label, *fractions = map(float, words)
    except ValueError as error:
        raise ValueError(f"{' '.join(words[:6])!r} are not all numbers. Correct it") from error
    if not all(map(math.isfinite, fractions)):
        raise ValueError(f"{' '.join(words[:6])!r} are not all finite. Correct it")
    if len(fractions) == 5:
        raise ValueError("6 numbers, as in predictions with a confidence. Remove the last, or label by hand")
    if len(fractions) != 4 and (len(fractions) < 6 or len(fractions) % 2):
        raise ValueError(f"{len(words)} numbers, neither class and box (5) nor class and polygon (7, 9, …). Correct it")
    if label not in range(classes):
        raise ValueError(
            f"class {words[0]} is not in 0..{classes - 1}, the `names` of data.yaml. Correct one of the two"
        )
    low, high = min(fractions), max(fractions)
    if high > 1 + SLACK or low < -SLACK:
        hint = "If these are pixels, divide x by the image's width and y by its height" if high > 2 else "Correct it"
        raise ValueError(f"{low if low < -SLACK else high:g} is not a fraction of the image (0 to 1). {hint}")
    if len(fractions) == 4 and min(fractions[2:]) <= 0:
        raise ValueError(f"width {fractions[2]:g}, height {fractions[3]:g}: no area. Correct or remove it")
    return Line(number, int(label), tuple(fractions))


def _to_object(line: Line, size: tuple[int, int], with_mask: bool) -> AnnotatedObject:
    height, width = size
    if len(line.fractions) == 4:
        x, y, across, down = line.fractions
        box = (x - across / 2) * width, (y - down / 2) * height, (x + across / 2) * width, (y + down / 2) * height
        return AnnotatedObject(line.label, box)
    xs, ys = [x * width for x in line.fractions[0::2]], [y * height for y in line.fractions[1::2]]
    mask = None
    if with_mask:
        polygon = [value for point in zip(xs, ys, strict=True) for value in point]
        mask = rle.encode_polygons([polygon], height, width)
    return AnnotatedObject(line.label, (min(xs), min(ys), max(xs), max(ys)), mask)
