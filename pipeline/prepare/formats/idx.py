"""idx: MNIST and its family (Fashion-MNIST, KMNIST, EMNIST) in the files of http://yann.lecun.com/exdb/mnist.

`train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, then `t10k-…` or `test-…`, with or without `.gz`. An
unpacked file is preferred to its packed copy. A file is read and checked completely before any of its images is used,
and then read again image by image, so that memory does not grow with its size.
"""

import gzip
import math
import re
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.images import MAX_PIXELS
from pipeline.prepare.formats.parts.files import Tree, ignored, scan
from pipeline.sample import Classes, Fault, Sample

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "t10k": "test"}
NAME = re.compile(rf"(?:.*-)?({'|'.join(SPLITS)})-(images|labels)[.-]idx([13])-ubyte(?:\.gz)?", re.IGNORECASE)
DIGITS = tuple("0123456789")
#: the header's first number: two zero bytes, 8 for unsigned bytes, the number of dimensions
MAGIC = 0x800
#: limits per file: unpacked bytes (30 s of reading), and images (infinite MNIST has 8 million)
MAX_BYTES, MAX_IMAGES = 4_000_000_000, 10_000_000
#: limit of the compression ratio (MNIST: 5, black images: 1,000); up to SMALL_BYTES any ratio is allowed
MAX_PACKED, SMALL_BYTES = 100, 100_000_000
#: bytes read at a time while a file is checked
BLOCK = 1 << 20


class _DamagedError(Exception):
    """Why a file can't be used, and the remedy."""


def read(path: Path | None, *, classes: list[str] | None = None) -> Iterator[Classes | Sample | Fault]:
    """Images of pairs of IDX files; the grey channel is repeated as RGB.

    classes: names of the labels 0, 1, 2, …; by default "0" to "9".
    """
    names = _names(classes)
    tree = scan(path)
    pairs, spare = _pairs(tree)
    yield Classes(names)
    yield from tree.faults
    yield from ignored(tree, spare)
    if not pairs:
        yield Fault(".", "has no IDX files such as train-images-idx3-ubyte. Put them here, packed or not.")
    for (split, part), files in sorted(pairs.items()):
        images, labels = files.get("images"), files.get("labels")
        if images is None or labels is None:
            yield Fault(str(images or labels), f"its {'images' if labels else 'labels'} are missing. Add that file.")
            continue
        yield from _samples(tree.root, split, part, images, labels, names)


def recognise(tree: Tree) -> dict[str, Any] | None:
    """No options, if any file is named like those of MNIST."""
    return {} if _pairs(tree)[0] else None


def _names(classes: list[str] | None) -> tuple[str, ...]:
    names = DIGITS if classes is None else tuple(classes)
    if isinstance(classes, str) or not all(isinstance(name, str) and name for name in names):
        raise UserError(f"option classes: {classes!r} is not a list of names. Write [T-shirt, Trouser, …].")
    if len(set(names)) < len(names) or not names:
        raise UserError(f"option classes: {classes!r} is empty or has a name twice. Correct it.")
    return names


def _pairs(tree: Tree) -> tuple[dict[tuple[str, str], dict[str, PurePosixPath]], list[PurePosixPath]]:
    """Files by split and common name, then by kind (images or labels); and the files that are not needed."""
    pairs: dict[tuple[str, str], dict[str, PurePosixPath]] = defaultdict(dict)
    spare = []
    for file in tree.files:  # sorted, so a file comes before its .gz
        match = NAME.fullmatch(file.name)
        if match and match[3] == {"images": "3", "labels": "1"}[match[2].lower()]:
            part = str(file.with_name(file.name[: match.end(1)]))
            kind = match[2].lower()
            if pairs[SPLITS[match[1].lower()], part].setdefault(kind, file) == file:
                continue
        spare.append(file)
    return pairs, spare


def _samples(
    root: Path, split: str, part: str, images: PurePosixPath, labels: PurePosixPath, names: tuple[str, ...]
) -> Iterator[Sample | Fault]:
    shapes = []
    for file, dimensions in ((images, 3), (labels, 1)):
        try:
            shapes.append(_checked(root / file, dimensions))
        except _DamagedError as error:
            yield Fault(str(file), str(error))
    if len(shapes) < 2:
        return
    (count, height, width), (label_count,) = shapes
    if count != label_count:
        yield Fault(str(labels), f"{label_count:,} labels for {count:,} images of {images}. Download both again.")
        return
    (numbers,) = _parts(root / labels, 8, (1, count))
    if len(numbers) and int(numbers.max()) >= len(names):
        excess = ", ".join(map(str, np.unique(numbers[numbers >= len(names)])[:5]))
        yield Fault(
            str(labels), f"label {excess} beyond the {len(names)} classes. List all of them in the option `classes`."
        )
        return
    pictures = _parts(root / images, 16, (count, height, width))
    for number, (picture, label) in enumerate(zip(pictures, numbers.tolist(), strict=True)):
        pixels = np.repeat(picture[..., None], 3, axis=2)
        yield Sample(f"{part}/{number:05d}", pixels, split=split, source=f"{images}, image {number}", label=label)


def _checked(path: Path, dimensions: int) -> tuple[int, ...]:
    """The shape of an IDX file's data; _DamagedError unless magic number, size and checksum are right."""
    byte_count = 0
    try:
        with _opened(path) as file:
            shape = _shape(file.read(4 + 4 * dimensions), dimensions)
            size = math.prod(shape)
            if size > max(SMALL_BYTES, MAX_PACKED * path.stat().st_size):
                text = f"{size:,} bytes, more than {MAX_PACKED} times the file's size"
                raise _DamagedError(f"its header says {text}. No images compress so well; download it again.")
            while byte_count < size and (block := file.read(min(BLOCK, size - byte_count))):
                byte_count += len(block)
            rest = file.read(1)
    except EOFError as error:
        raise _DamagedError("is truncated. Download it again.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _DamagedError(f"can't be unpacked ({error}). Download it again.") from error
    except OSError as error:
        raise _DamagedError(f"can't be read ({error.strerror}). Check its permissions.") from error
    if rest or byte_count != size:
        follow = "more" if rest else f"{byte_count:,}"
        raise _DamagedError(
            f"its header says {'×'.join(map(str, shape))} bytes, but {follow} follow. Download it again."
        )
    return shape


def _opened(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _parts(path: Path, header: int, shape: tuple[int, ...]) -> Iterator[NDArray[np.uint8]]:
    """The data of a checked file after its header, one item of the first dimension after the other."""
    with _opened(path) as file:
        file.read(header)
        for _ in range(shape[0]):
            yield np.frombuffer(file.read(math.prod(shape[1:])), np.uint8).reshape(shape[1:])


def _shape(header: bytes, dimensions: int) -> tuple[int, ...]:
    if len(header) < 4 + 4 * dimensions:
        raise _DamagedError(f"ends within its header, after {len(header)} bytes. Download it again.")
    magic, *shape = struct.unpack(f">{1 + dimensions}I", header)
    if magic != MAGIC + dimensions:
        raise _DamagedError(
            f"starts with {magic:#010x}, not {MAGIC + dimensions:#010x}: not such an IDX file. Replace it."
        )
    if math.prod(shape) > MAX_BYTES:
        raise _DamagedError(f"its header says more than {MAX_BYTES:,} bytes. Split it, or download it again.")
    if shape[0] > MAX_IMAGES or math.prod(shape[1:]) > MAX_PIXELS:
        bound = f"{MAX_IMAGES:,} images, or an image of more than {MAX_PIXELS:,} pixels"
        raise _DamagedError(f"its header says more than {bound}. Split it, or download it again.")
    return tuple(shape)
