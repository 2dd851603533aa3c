"""webdataset: images with class labels in tar or zip shards: `7.jpg` beside `7.cls`, or one folder per class inside.

The archives lie in one folder and are read as they are; https://github.com/webdataset/webdataset describes the
first layout. A label is the text of `7.cls`: a class's name, or its number. Where there is none, it is the name of the
folder in which the image lies in the archive. A word train, val or test in the archive's name, as in
`train-000.tar`, or one of these folders in it, gives the split.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.prepare.formats.image_folder import SPLITS
from pipeline.prepare.formats.parts.archives import MAX_TEXT_BYTES, ArchiveError, is_archive, members
from pipeline.prepare.formats.parts.files import Tree, ignored, scan
from pipeline.sample import Classes, Fault, Sample

#: it reads archives as they are
ARCHIVES = True
LABEL = ".cls"
#: members of the first archive that tell whether it has this format
ASKED = 100


@dataclass(frozen=True, slots=True)
class _Labelled:
    """An image of an archive; data is None where only labels are wanted."""

    archive: PurePosixPath
    name: PurePosixPath
    label: str | None
    data: bytes | None

    @property
    def source(self) -> str:
        return f"{self.archive}/{self.name}"


def read(path: Path | None, *, classes: list[str] | None = None) -> Iterator[Classes | Sample | Fault]:
    """Images of all archives in a folder, in the order of the archives' names and of the images in them.

    classes: names of the classes 0, 1, 2, … where labels are numbers; by default the numbers are the names.
    """
    tree = scan(path)
    archives = [name for name in tree.files if is_archive(name)]
    labels, faults = _labels(tree, archives)
    names = _names(labels, classes)
    numbers = {str(number): number for number in range(len(names))} if _are_numbers(labels) else _index(names)
    index = _index(names) if classes is None else numbers
    yield Classes(tuple(names))
    yield from tree.faults
    yield from ignored(tree, [name for name in tree.files if not is_archive(name)])
    yield from faults
    if not archives:
        yield Fault(".", "has no archive (.tar, .tar.gz, .tgz, .zip). Put them here.", blocks=True)
    damaged = {fault.where for fault in faults}
    for archive in archives:
        if str(archive) not in damaged:
            try:
                yield from (_sample(image, index) for image in _images(tree.root, archive, data=True))
            except ArchiveError as error:
                yield Fault(str(archive), str(error), blocks=True)


def recognise(tree: Tree) -> dict[str, Any] | None:
    """No options, if there are archives and no images, and the first archive has labelled images."""
    archives = [name for name in tree.files if is_archive(name)]
    if not archives or any(name.suffix.lower() in SUFFIXES for name in tree.files):
        return None
    labels = list[str | None]()
    try:
        for member, _ in zip(members(tree.root / archives[0]), range(ASKED), strict=False):
            if member.name.suffix.lower() not in {*SUFFIXES, LABEL, ".md", ".txt"}:
                return None  # annotations of another format
        labels = [image.label for image, _ in zip(_images(tree.root, archives[0]), range(ASKED), strict=False)]
    except ArchiveError:
        return None
    return {} if labels and None not in labels else None


def _labels(tree: Tree, archives: list[PurePosixPath]) -> tuple[set[str], list[Fault]]:
    """All labels, and the faults of archives that can't be read to their end."""
    labels, faults = set[str](), []
    for archive in archives:
        try:
            labels |= {image.label for image in _images(tree.root, archive) if image.label is not None}
        except ArchiveError as error:
            faults.append(Fault(str(archive), str(error), blocks=True))
    return labels, faults


def _sample(image: _Labelled, index: dict[str, int]) -> Sample | Fault:
    if image.label not in index:
        what = f"its label {image.label!r} is none of the {len(index)} classes" if image.label else "has no label"
        remedy = f"Add {image.name.stem}{LABEL} after it in the archive, or put it into a folder of its class"
        return Fault(image.source, f"{what}. {remedy}.")
    source, data = image.source, image.data or b""
    return Sample(source, data, split=_split(image), source=source, label=index[image.label])


def _names(labels: set[str], classes: list[str] | None) -> list[str]:
    if classes is None:
        return sorted(labels, key=int) if _are_numbers(labels) else sorted(labels)
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise UserError(f"option classes: {classes!r} is not a list of names. Write [cat, dog, …].")
    return classes


def _index(names: list[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


def _are_numbers(labels: set[str]) -> bool:
    return all(label.isascii() and label.isdigit() for label in labels)


def _images(root: Path, archive: PurePosixPath, *, data: bool = False) -> Iterator[_Labelled]:
    """The images of an archive with their labels; files of one sample follow each other."""
    key: PurePosixPath | None = None
    images, label = list[tuple[PurePosixPath, bytes | None]](), None
    for member in members(root / archive):
        own = member.name.with_suffix("")
        if own != key:
            yield from _labelled(archive, images, label)
            key, images, label = own, [], None
        if member.name.suffix.lower() in SUFFIXES:
            images.append((member.name, member.read() if data else None))
        elif member.name.suffix.lower() == LABEL:
            label = member.read(MAX_TEXT_BYTES).decode(errors="backslashreplace").strip()
    yield from _labelled(archive, images, label)


def _labelled(
    archive: PurePosixPath, images: list[tuple[PurePosixPath, bytes | None]], label: str | None
) -> Iterator[_Labelled]:
    for name, data in images:
        folders = [part for part in name.parent.parts if part.lower() not in SPLITS]
        yield _Labelled(archive, name, label or (folders[0] if folders else None), data)


def _split(image: _Labelled) -> str | None:
    words = [*re.split(r"[^a-z]+", image.archive.name.lower()), *(part.lower() for part in image.name.parent.parts)]
    return next((SPLITS[word] for word in words if word in SPLITS), None)
