"""Which classes and images a YOLO dataset has: data.yaml, darknet's obj.data, or a list of names alone.

- `data.yaml` (Ultralytics, Roboflow, CVAT): `names`, and folders of images or lists of them for `train`, `val`, `test`.
- `obj.data` (darknet, CVAT's YOLO 1.1): `names = data/obj.names`, `train = data/train.txt`, `valid = …`.
- `classes.txt` (labelImg, Label Studio), `obj.names`, `_darknet.labels` (Roboflow) or Label Studio's `notes.json`:
  names; images and splits are those of lists `train.txt`, `val.txt` and `test.txt` beside it, else every image belongs
  to the dataset, and folders `train`, `val` and `test` give its split.

Folders and lists of another machine are matched by their last parts.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pipeline import safe_yaml
from pipeline.images import SUFFIXES
from pipeline.prepare.formats.image_folder import SPLITS as FOLDERS
from pipeline.prepare.formats.parts.files import Tree
from pipeline.prepare.formats.parts.finder import Finder
from pipeline.prepare.formats.parts.objects import text
from pipeline.prepare.formats.parts.yolo_lines import look_like_labels
from pipeline.sample import Fault

Path = PurePosixPath
SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
YAML = frozenset({".yaml", ".yml"})
NOTES = "notes.json"
#: folders or files that a message names
SHOWN = 5
#: how deep in the folder names are looked for
DEPTH = 3


@dataclass(slots=True)
class YoloSet:
    """Names of the classes, images with their split, the files that say so, and faults."""

    names: tuple[str, ...]
    images: dict[Path, str | None] = field(default_factory=dict)
    files: set[Path] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)


def candidates(tree: Tree) -> list[Path]:
    """Files that may say which classes and images there are, the likeliest first."""
    top = [name for name in tree.files if len(name.parts) == 1]
    settings = [name for name in top if name.suffix.lower() in YAML] + [name for name in top if name.suffix == ".data"]
    names = sorted((name for name in tree.files if lists_names(name)), key=lambda name: len(name.parts))
    return settings + names


def lists_names(name: Path) -> bool:
    """Whether a file of this name lists nothing but names of classes."""
    usual = name.name in {"classes.txt", NOTES, "_darknet.labels"} or name.suffix == ".names"
    return usual and len(name.parts) <= DEPTH


def load(tree: Tree, data: Path) -> YoloSet:
    """What a file says of classes and images; ValueError with a remedy if it can't be used."""
    if data not in tree.files:
        there = ", ".join(map(str, candidates(tree)[:SHOWN]))
        hint = f"Set the option `data` to one of: {there}" if there else "Write one: `names`, `train`"
        raise ValueError(f"no such file in the dataset. {hint}")
    if data.suffix.lower() in YAML:
        settings = _yaml(tree, data)
        loaded = YoloSet(_names(settings), files={data})
    elif data.suffix == ".data":
        settings = _darknet(tree, data)
        loaded = YoloSet(settings["names"], files={data, settings["file"]})
    else:
        return _of_names(tree, data)
    _add_images(tree, data, settings, loaded)
    return loaded


def _of_names(tree: Tree, data: Path) -> YoloSet:
    """The images of lists in the top folder, or all of the folder; files of names of one kind must be equal."""
    names = _names_in(tree, data)
    loaded = YoloSet(names, files={name for name in tree.files if lists_names(name)})
    for other in loaded.files:
        if other.name == data.name and _names_in(tree, other) != names:
            raise ValueError(f"has other names than {other}. Keep one of the two")
    images = [name for name in tree.files if name.suffix.lower() in SUFFIXES]
    lists = {key: f"{key}.txt" for key in SPLITS if images and Path(f"{key}.txt") in tree.files}
    if lists and not look_like_labels(tree, [Path(name) for name in lists.values()]):
        _add_images(tree, data, lists, loaded)
    else:
        for name in images:
            splits = [FOLDERS[part.lower()] for part in name.parent.parts if part.lower() in FOLDERS]
            loaded.images[name] = splits[-1] if splits else None
    return loaded


def _names_in(tree: Tree, file: Path) -> tuple[str, ...]:
    if file.name == NOTES:
        try:
            categories = json.loads(text(tree.root / file))["categories"]
            return _names({"names": {int(item["id"]): item["name"] for item in categories}})
        except (TypeError, KeyError, json.JSONDecodeError) as error:
            remedy = "Write the names into classes.txt"
            raise ValueError(f"{file} has no list `categories` of id and name. {remedy}") from error
    names = [line.strip() for line in text(tree.root / file).rstrip().splitlines()]
    if not all(names):
        where = f"line {names.index('') + 1} of {file} is empty" if names else f"{file} is empty"
        raise ValueError(f"{where}. Write one class name per line, in the order of their numbers")
    return _names({"names": names})


def _darknet(tree: Tree, data: Path) -> dict[str, Any]:
    pairs = (line.split("=", 1) for line in text(tree.root / data).splitlines() if "=" in line)
    settings: dict[str, Any] = {key.strip(): value.strip() for key, value in pairs}
    written = settings.get("names", "")
    file = _by_end(written, set(tree.files))
    if file is None:
        raise ValueError(f"`names`: no file ends with {written!r}. Write the path of the file with the classes' names")
    names = _names_in(tree, file)
    _check_count("classes", settings.get("classes"), names, str(file))
    return settings | {"names": names, "file": file}


def _yaml(tree: Tree, data: Path) -> dict[str, Any]:
    settings = safe_yaml.load(text(tree.root / data))
    if not isinstance(settings, dict) or not settings:
        raise ValueError("has no settings. Give at least `names` and `train`")
    if "kpt_shape" in settings:
        raise ValueError("`kpt_shape`: keypoints are not supported. Export boxes or polygons")
    return settings


def _names(settings: dict[str, Any]) -> tuple[str, ...]:
    names = settings.get("names")
    if isinstance(names, dict):
        numbered = {str(number): name for number, name in names.items()}
        if numbered.keys() != {str(number) for number in range(len(names))}:
            raise ValueError("`names`: its keys are not 0, 1, 2, …. Number the classes so")
        names = [numbered[str(number)] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise ValueError("`names` is not a list of class names. Give one, in the order of their numbers")
    _check_count("nc", settings.get("nc"), names, "`names`")
    for number, name in enumerate(names):
        if name is None or isinstance(name, list | dict):
            raise ValueError(f"`names`: the name of class {number} is not a string. Correct it")
    texts = tuple(str(name) for name in names)
    if len(set(texts)) < len(texts):
        raise ValueError("`names` has a name twice. Rename one")
    return texts


def _check_count(key: str, count: object, names: Sequence[str], where: str) -> None:
    """ValueError if a number of classes, as a number or text, is not that of the names."""
    if count is None:
        return
    try:
        equal = float(str(count)) == len(names)
    except ValueError:
        equal = False
    if not equal:
        raise ValueError(f"`{key}` is {count}, but {where} has {len(names)}. Correct one of the two")


def _add_images(tree: Tree, data: Path, settings: dict[str, Any], loaded: YoloSet) -> None:
    """The images of the folders and lists of each split, with the faults of these."""
    finder = Finder(tree, None)
    files, folders = set(tree.files), {PurePosixPath(), *tree.folders}
    for key, split in SPLITS.items():
        for entry in _entries(key, settings.get(key)):
            is_list = PurePosixPath(entry).suffix.lower() == ".txt"
            source = _by_end(entry, files if is_list else folders)
            if source is None:
                # exports name a test folder, even if the split is empty
                kind = "file" if is_list else "folder"
                hint = f"no {kind} ends with {entry!r}; {_image_folders(tree)}"
                reason = f"`{key}`: {hint}. Correct it or remove the line."
                loaded.faults.append(Fault(str(data), reason, warning=split == "test"))
                continue
            images = _listed(tree, source, finder, loaded) if is_list else _inside(tree, source, key, loaded)
            if any(loaded.images.get(name, split) != split for name in images):
                kind = "list" if is_list else "folder"
                reason = f"`{key}`: {str(source)!r} is the {kind} of another split, too. Its images stay in that one"
                loaded.faults.append(Fault(str(data), reason, warning=True))
            loaded.images |= {name: split for name in images if name not in loaded.images}
    loaded.faults += finder.warnings()
    if not loaded.images and not loaded.faults:
        raise ValueError("names no folder of images. Give at least `train`")


def _entries(key: str, written: object) -> list[str]:
    entries: list[object] = written if isinstance(written, list) else [written] if written else []
    paths = [entry for entry in entries if isinstance(entry, str)]
    if len(paths) < len(entries):
        wrong = next(entry for entry in entries if not isinstance(entry, str))
        raise ValueError(f"`{key}`: {wrong!r} is not a path. Name a folder of images, or a list of them")
    return paths


def _inside(tree: Tree, folder: Path, key: str, loaded: YoloSet) -> list[Path]:
    """The images in a folder and below."""
    images = [name for name in tree.files if folder in name.parents and name.suffix.lower() in SUFFIXES]
    if not images:
        loaded.faults.append(Fault(str(folder), f"the folder of `{key}` has no image. Add images."))
    return images


def _listed(tree: Tree, file: Path, finder: Finder, loaded: YoloSet) -> list[Path]:
    """The images that a list names, one per line."""
    loaded.files.add(file)
    images, faults = list[Path](), list[Fault]()
    lines = [line.strip() for line in text(tree.root / file).splitlines()]
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            images.append(finder.find(line, file))
        except ValueError as error:
            faults.append(Fault(f"{file}: line {number} ({line})", f"{error}."))
    if not images:
        # CVAT exports lists and labels without images by default
        what = f"none of its {len(faults):,} images is in the folder" if faults else "lists no image"
        remedy = "Export again with images (CVAT: Save images), or copy them into the folder."
        faults = [Fault(str(file), f"{what}. {remedy}")]
    loaded.faults += faults
    return images


def _image_folders(tree: Tree) -> str:
    """The folders that have images, as a hint."""
    there = sorted({str(name.parent) for name in tree.files if name.suffix.lower() in SUFFIXES})
    more = ", …" if len(there) > SHOWN else ""
    return f"images are in {', '.join(there[:SHOWN])}{more}" if there else "no folder has images"


def _by_end(written: str, there: Collection[Path]) -> Path | None:
    """The file or folder that a path names: the longest suffix of the path that exists; `.` is the dataset's folder."""
    path = PurePosixPath(written.strip().replace("\\", "/"))
    if path == PurePosixPath():
        return path if path in there else None
    parts = [part for part in path.parts if part not in {"/", "..", "."}]
    ends = (PurePosixPath(*parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if end in there), None)
