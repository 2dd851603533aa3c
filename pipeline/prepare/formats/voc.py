"""voc: boxes from PASCAL VOC's xml, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf.

Common layouts are supported: `Annotations/*.xml` with `JPEGImages/` and the splits of `ImageSets/Main/*.txt`, or xml
beside the images in `train`, `valid` and `test`, as exported by Roboflow. An xml belongs to the image with its own
name, because its `filename` and `path` are often from another machine; `filename` decides where no image or several
have that name. An xml is read in the encoding that it declares. VOC counts pixels from 1 and includes the last,
so 1..W is the whole width and becomes 0..W. Parts of objects are not read; mask_png reads VOC's segmentations.
"""

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.prepare.formats.parts import split_lists, voc_document
from pipeline.prepare.formats.parts.files import Tree, ignored, scan
from pipeline.prepare.formats.parts.finder import Finder
from pipeline.prepare.formats.parts.objects import AnnotatedObject, sample, split_of
from pipeline.prepare.formats.parts.voc_document import Annotation
from pipeline.sample import Classes, Fault, Sample

Names = list[PurePosixPath]
#: xml files that are read to recognise the format
LOOKED_INTO = 20


def read(path: Path | None, *, first_pixel: int = 1) -> Iterator[Classes | Sample | Fault]:
    """Samples of a folder with VOC xml files.

    first_pixel: the number of the first pixel. With 1, as in VOC, x_min..x_max becomes x_min − 1..x_max; 0 is for
    tools that count from 0 and give corners (such as many exports of labelImg), whose numbers stay.
    """
    if first_pixel not in (0, 1):
        raise UserError(f"option first_pixel: {first_pixel!r} is neither 0 nor 1. Correct it.")
    tree = scan(path)
    files = [name for name in tree.files if name.suffix.lower() == ".xml"]
    lists = split_lists.find_lists(tree, "Main")
    parsed = {name: voc_document.annotation(tree.root, name, first_pixel) for name in files}
    annotations = {name: item for name, item in parsed.items() if isinstance(item, Annotation)}
    faults = [fault for item in parsed.values() if isinstance(item, list) for fault in item]
    if faults and not annotations and voc_document.are_other_shapes(faults):
        raise UserError(f"{tree.root}: each object of its xml files is {faults[0].reason}")
    classes = sorted({item.name for annotation in annotations.values() for item in annotation.objects})
    yield Classes(tuple(classes))
    yield from tree.faults
    if not files:
        yield Fault(".", "has no annotation (*.xml). Give the folder that contains Annotations and JPEGImages.")
    yield from faults
    if first_pixel == 1:
        yield from _odd_boxes(annotations)
    splits, faults = split_lists.splits(tree, lists, {name.stem for name in files}, "annotation", ".xml")
    yield from faults
    yield from _samples(tree, annotations, classes, splits if lists else None, first_pixel)
    used = {*files, *lists}
    yield from ignored(tree, [name for name in tree.files if name.suffix.lower() not in SUFFIXES and name not in used])


def recognise(tree: Tree) -> dict[str, Any] | None:
    """No options, if an xml is a VOC annotation."""
    files = [name for name in tree.files if name.suffix.lower() == ".xml"][:LOOKED_INTO]
    return {} if any(voc_document.is_voc(tree.root / name) for name in files) else None


def _odd_boxes(annotations: dict[PurePosixPath, Annotation]) -> Iterator[Fault]:
    """Warnings for boxes that a tool may have counted in another way than VOC."""
    boxes = [(name, item.box) for name, each in annotations.items() for item in each.objects]
    starts = [name for name, box in boxes if min(box[:2]) == 0]
    if starts:
        reason = (
            f"{len(starts)} boxes begin at 0, the first in {starts[0]}, but VOC's first pixel is 1. "
            "If your tool counts from 0, set the option `first_pixel: 0`"
        )
        yield Fault(".", reason, warning=True)
    thin = [name for name, box in boxes if box[0] == box[2] or box[1] == box[3]]
    if thin:
        reason = f"{len(thin)} boxes are one pixel wide or high (xmin = xmax or ymin = ymax), the first in {thin[0]}"
        yield Fault(".", reason, warning=True)


class _Pictures:
    """The image of each xml: the one of the same name, or else the one that `filename` names."""

    def __init__(self, tree: Tree) -> None:
        self.finder = Finder(tree, None)
        self.by_stem: dict[str, Names] = defaultdict(list)
        for name in tree.files:
            if name.suffix.lower() in SUFFIXES:
                self.by_stem[name.stem].append(name)
        self.annotated = {name.stem for name in tree.files if name.suffix.lower() == ".xml"}

    def of(self, name: PurePosixPath, filename: str) -> PurePosixPath:
        """The image of an xml; ValueError if none or several fit."""
        candidates = self.by_stem[name.stem]
        for narrower in (
            [picture for picture in candidates if picture.parent == name.parent],
            [picture for picture in candidates if picture.name == PurePosixPath(filename.replace("\\", "/")).name],
            _nearest(candidates, name),
        ):
            candidates = narrower or candidates
        if len(candidates) > 1:
            raise ValueError(f"could belong to {' and '.join(map(str, candidates[:2]))}. Rename one")
        return candidates[0] if candidates else self._by_filename(name, filename)

    def _by_filename(self, name: PurePosixPath, filename: str) -> PurePosixPath:
        for text in (name.stem, filename):
            with contextlib.suppress(ValueError):
                picture = self.finder.find(text, name)
                if picture.stem not in self.annotated:
                    return picture
        raise ValueError("has no image of this name. Add the image or remove it")


def _nearest(pictures: Names, name: PurePosixPath) -> Names:
    """The images with the most folders in common with an xml: `b/images/1.jpg` for `b/annotations/1.xml`."""
    common = [len({*picture.parent.parts} & {*name.parent.parts}) for picture in pictures]
    return [picture for picture, count in zip(pictures, common, strict=True) if count == max(common, default=0)]


def _samples(
    tree: Tree,
    annotations: dict[PurePosixPath, Annotation],
    classes: list[str],
    splits: dict[str, str] | None,
    first_pixel: int,
) -> Iterator[Sample | Fault]:
    pictures = _Pictures(tree)
    unlisted, unused = [], {name for names in pictures.by_stem.values() for name in names}
    for name, annotation in annotations.items():
        if splits is not None and name.stem not in splits:
            unlisted.append(name)
            continue
        try:
            picture = pictures.of(name, annotation.filename)
        except ValueError as error:
            yield Fault(str(name), f"{error}.")
            continue
        unused.discard(picture)
        objects = [
            AnnotatedObject(classes.index(item.name), _corners(item.box, first_pixel), difficult=item.difficult)
            for item in annotation.objects
        ]
        split = split_of(name.parent) if splits is None else splits[name.stem]
        yield sample(tree.root, picture, objects, ("difficult",), split=split, size=annotation.size)
    if unlisted:
        reason = f"{len(unlisted)} annotations ignored that no list in ImageSets/Main names, such as {unlisted[0]}"
        yield Fault(".", reason, warning=True)
    yield from pictures.finder.warnings()
    unannotated = sorted(name for name in unused if name.stem not in pictures.annotated)
    if unannotated:
        yield Fault(".", f"{len(unannotated)} images ignored that have no xml, such as {unannotated[0]}", warning=True)


def _corners(box: tuple[float, float, float, float], first_pixel: int) -> tuple[float, float, float, float]:
    return box[0] - first_pixel, box[1] - first_pixel, box[2], box[3]
