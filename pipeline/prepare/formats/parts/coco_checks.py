"""What speaks against a COCO set as a whole: leaving single images out would not make it right."""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from pipeline.images import ImageError
from pipeline.prepare.formats.parts.coco_document import Document, Id
from pipeline.prepare.formats.parts.coco_objects import CORNERS, SIZE, corners
from pipeline.prepare.formats.parts.objects import upright_size
from pipeline.sample import Fault

#: file of each image of a document
Files = dict[Id, PurePosixPath]
#: fewer boxes than these say nothing of how they are written
FEW_BOXES = 3
#: the part of all boxes that must reach outside, and the part that may be faulty as corners
MANY_OUTSIDE, FEW_FAULTY = 0.1, 0.01
#: by how much of the image's side a box must reach outside to count
FAR_OUTSIDE = 0.1
#: images that are opened for their size to see how boxes are written
LOOKED_AT = 200


def without_annotations(documents: Sequence[Document]) -> Iterator[Fault]:
    """A fault if images are listed, but not one annotation."""
    pictures = sum(len(document.pictures) for document in documents)
    if pictures and not any(document.annotations or document.excluded for document in documents):
        names = ", ".join(str(document.name) for document in documents[:3])
        reason = f"{pictures:,} images, but not one annotation, so there is nothing to learn"
        yield Fault(
            names, f"{reason}. Export them again with annotations, or choose others: `annotations`.", blocks=True
        )


def remove_shared(documents: Sequence[Document], files: Sequence[Files]) -> Iterator[Fault]:
    """Remove the image files that two entries name, with faults: each entry lacks the objects of the other."""
    holders: dict[PurePosixPath, list[tuple[PurePosixPath, Id]]] = defaultdict(list)
    for document, of_document in zip(documents, files, strict=True):
        for id, file in of_document.items():
            holders[file].append((document.name, id))
    shared = Counter[tuple[PurePosixPath, ...]]()
    examples: dict[tuple[PurePosixPath, ...], PurePosixPath] = {}
    for file, entries in holders.items():
        names = tuple(dict.fromkeys(name for name, _ in entries))
        if len(names) > 1:
            shared[names[:2]] += 1
            examples.setdefault(names[:2], file)
        elif len(entries) > 1:
            ids = " and ".join(str(id) for _, id in entries[:2])
            reason = "two entries of `images` are this one file. Merge them, or give each image its own file."
            yield Fault(f"{names[0]}: images {ids} ({file})", reason, blocks=True)
    for of_document in files:
        for id in [id for id, file in of_document.items() if len(holders[file]) > 1]:
            del of_document[id]
    for (first, second), count in shared.items():
        many = f"{count:,} image{'s are' if count > 1 else ' is'} listed by {second}, too"
        why = f"such as {examples[first, second]}; files of equal names may have been copied over each other"
        remedy = "Give each image its own file, or choose the json files by the option `annotations`"
        yield Fault(str(first), f"{many}, {why}. {remedy}.", blocks=True)


def sized_boxes(
    root: Path, documents: Sequence[Document], files: Sequence[Files]
) -> Iterator[tuple[Sequence[float], tuple[int, int]]]:
    """The four numbers of each box with the size of its image, as far as a json or one of a few files says it."""
    opened = 0
    for document, of_document in zip(documents, files, strict=True):
        for id, entries in document.annotations.items():
            size = document.pictures[id].size if id in document.pictures else None
            if size is None and id in of_document and opened < LOOKED_AT:
                opened += 1
                with contextlib.suppress(ImageError):
                    size = upright_size(root / of_document[id])
            if size is not None:
                yield from ((values, size) for values in map(corners, entries) if values is not None)


def written_as_corners(boxes: Iterable[tuple[Sequence[float], tuple[int, int]]], number: int) -> Iterator[Fault]:
    """A fault if the boxes fit their images as corners, but many do not as x, y, width and height.

    boxes: four numbers, with height and width of the image · number: of all boxes.
    """
    total = outside = faulty = 0
    for (x, y, right, bottom), (height, width) in boxes:
        total += 1
        faulty += not (-1 <= x < right <= width + 1 and -1 <= y < bottom <= height + 1)
        outside += x + right > (1 + FAR_OUTSIDE) * width or y + bottom > (1 + FAR_OUTSIDE) * height
        if faulty > FEW_FAULTY * number:
            return
    if total >= FEW_BOXES and outside >= MANY_OUTSIDE * total:
        reason = (
            f"read as x, y, width, height, {outside:,} of {total:,} boxes reach outside their images; "
            f"as x_min, y_min, x_max, y_max they lie inside. Set the option `boxes: {CORNERS}`, "
            f"or `boxes: {SIZE}` if they are right as they are."
        )
        yield Fault(".", reason, blocks=True)
