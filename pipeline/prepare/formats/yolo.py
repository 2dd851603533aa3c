"""yolo: boxes and polygons from YOLO's text files, https://docs.ultralytics.com/datasets/detect/ and /segment/.

`data.yaml` names the classes and the folders or lists of images of the splits; an image `…/images/a.jpg` has its label
file in `…/labels/a.txt` or beside it, one line per object: `class x_center y_center width height`, or
`class x y x y x y …` for a polygon, as fractions of the image's upright size. Common exports are supported: folders of
`data.yaml` that exist on another machine only (Roboflow's `../train/images`, Colab's `/content/…`) are matched by their
last parts, darknet's `obj.data` (CVAT's YOLO 1.1) and a `classes.txt` (labelImg, Label Studio) stand in for
`data.yaml`, and an image without a label file has no objects.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import UserError
from pipeline.images import SUFFIXES, ImageError
from pipeline.prepare.formats.parts import yolo_sets
from pipeline.prepare.formats.parts.files import Tree, ignored, scan
from pipeline.prepare.formats.parts.objects import plain, sample, upright_size
from pipeline.prepare.formats.parts.yolo_lines import Line, label_file, look_like_labels, read_lines, to_object
from pipeline.prepare.formats.parts.yolo_sets import YoloSet
from pipeline.sample import Classes, Fault, Sample

NO_IMAGE = "holds no image. Export again with images (Label Studio: YOLO with Images), or copy them into the folder."


def read(
    path: Path | None, *, data: str = "data.yaml", masks: bool = True, first_class: int = 0
) -> Iterator[Classes | Sample | Fault]:
    """Samples of a folder with data.yaml, images and label files.

    data: the file that names the classes: a YAML file with `names` and the folders or lists of `train`, `val` and
    `test`, darknet's `obj.data`, or a list of names such as `classes.txt`.
    masks: false reads polygons as boxes only.
    first_class: the number of the first class in the label files; 1 is for tools that count from 1.
    """
    if first_class not in (0, 1):
        raise UserError(f"option first_class: {first_class!r} is neither 0 nor 1. Correct it.")
    tree = scan(path)
    try:
        loaded = yolo_sets.load(tree, plain("option data:", data))
    except ValueError as error:
        yield Classes()
        yield from tree.faults
        yield Fault(data, f"{error}.")
        return
    yield Classes(loaded.names)
    yield from tree.faults
    yield from loaded.faults
    if not loaded.images and not loaded.faults:
        yield Fault(".", NO_IMAGE)
    labels = _Labels(tree, loaded, data, first_class)
    yield from labels.faults()
    if labels.any:
        yield from _samples(tree, loaded, labels, masks)
    left = [name for name in tree.files if name.suffix.lower() in SUFFIXES and name not in loaded.images]
    if left:
        yield Fault(".", f"{len(left)} images ignored that {data} does not name, such as {left[0]}", warning=True)
    used = {*loaded.files, *labels.files.values()}
    yield from ignored(tree, [name for name in tree.files if name.suffix.lower() not in SUFFIXES and name not in used])


def recognise(tree: Tree) -> dict[str, Any] | None:
    """The option `data` if a file names classes and images; no options if there are only label files."""
    there = set(tree.files)
    images = [name for name in tree.files if name.suffix.lower() in SUFFIXES]
    files = [file for file in (label_file(image, there) for image in images) if file in there]
    texts = [name for name in tree.files if name.suffix == ".txt" and "labels" in name.parts]
    labelled = look_like_labels(tree, [name for name in files or texts if not yolo_sets.lists_names(name)])
    for name in yolo_sets.candidates(tree):
        with contextlib.suppress(ValueError):
            loaded = yolo_sets.load(tree, name)
            if labelled or (not yolo_sets.lists_names(name) and (loaded.images or len(loaded.files) > 1)):
                return {} if name.name == "data.yaml" else {"data": str(name)}
    return {} if labelled or any("labels" in name.parts for name in files) else None


class _Labels:
    """The label files of all images.

    files: the label file of each image, whether it exists or not · lines: of each image that has one without faults ·
    any: whether an image has one.
    """

    def __init__(self, tree: Tree, loaded: YoloSet, data: str, first_class: int) -> None:
        there = set(tree.files)
        self.tree, self.data, self.first_class, self.count = tree, data, first_class, len(loaded.names)
        self.files = {image: label_file(image, there) for image in loaded.images}
        self.missing = [image for image, file in self.files.items() if file not in there]
        self.any = len(self.missing) < len(self.files)
        self.lines: dict[PurePosixPath, list[Line]] = {image: [] for image in self.missing}

    def faults(self) -> Iterator[Fault]:
        """Read the label files; faults of their lines, and of their numbers as a whole."""
        if self.files and not self.any:
            yield Fault(".", f"no image has a label file, such as {next(iter(self.files.values()))}. Add the folder.")
            return
        if self.missing:
            yield Fault(".", f"{len(self.missing)} images without a label file, kept without objects", warning=True)
        numbers: Counter[int] = Counter()
        for image, file in self.files.items():
            if image in self.lines:
                continue
            lines, faults = read_lines(self.tree.root, file)
            numbers.update(line.label for line in lines)
            last = self.first_class + self.count - 1
            names = f"{self.first_class}..{last}, the `names` of {self.data}"
            for line in lines:
                if not self.first_class <= line.label <= last:
                    reason = f"class {line.label} is not in {names}. Correct one of the two."
                    faults.append(Fault(f"{file}: line {line.number}", reason))
            yield from faults
            if not faults:
                self.lines[image] = lines
        yield from self._numbering(numbers)

    def _numbering(self, numbers: Counter[int]) -> Iterator[Fault]:
        """A fault if the numbers seem to start at 1: then those that are in range are another class's."""
        if self.first_class == 0 and numbers and min(numbers) > 0 and max(numbers) >= self.count:
            reason = (
                f"the class numbers of {numbers.total():,} lines go from {min(numbers)} to {max(numbers)}, but the "
                f"{self.count} names of {self.data} are numbered 0..{self.count - 1}, and 0 never occurs. "
                "If the label files count from 1, set the option `first_class: 1`; else correct the names."
            )
            yield Fault(self.data, reason, blocks=True)


def _samples(tree: Tree, loaded: YoloSet, labels: _Labels, masks: bool) -> Iterator[Sample | Fault]:
    with_masks = masks and any(len(line.fractions) > 4 for lines in labels.lines.values() for line in lines)
    for image, split in loaded.images.items():
        if image not in labels.lines:
            continue
        lines, file = labels.lines[image], labels.files[image]
        boxes = [line.number for line in lines if with_masks and len(line.fractions) == 4]
        for number in boxes:
            reason = (
                "a box, where other lines are polygons. Draw the polygon, or set the dataset's option `masks: false`."
            )
            yield Fault(f"{file}: line {number}", reason)
        if boxes:
            continue
        try:
            size = upright_size(tree.root / image)
        except ImageError as error:
            yield Fault(str(image), str(error))
            continue
        objects, faults = [], []
        for line in lines:
            try:
                objects.append(to_object(line, line.label - labels.first_class, size, with_masks))
            except ValueError as error:
                faults.append(Fault(f"{file}: line {line.number}", f"{error}. Draw it again."))
        yield from faults
        if not faults:
            yield sample(tree.root, image, objects, ("masks",) if with_masks else (), split=split, size=size)
