"""Shared by formats with boxes: annotated objects, the sample of an image with its objects, and helpers."""

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from pipeline import images
from pipeline.prepare.formats.image_folder import SPLITS
from pipeline.sample import Sample

TEXT_BYTES = 10_000_000
#: EXIF orientations that swap width and height
TURNED = {5, 6, 7, 8}


@dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """One annotated object: class index, box as x_min, y_min, x_max, y_max in pixels, and optional annotations."""

    label: int
    box: tuple[float, float, float, float]
    mask: bytes | None = None
    crowd: bool = False
    difficult: bool = False
    #: x, y and visibility of each keypoint, one after the other
    keypoints: tuple[float, ...] = ()


def sample(
    root: Path,
    name: PurePosixPath,
    objects: Sequence[AnnotatedObject],
    fields: Sequence[str],
    *,
    split: str | None,
    size: tuple[int, int] | None,
    keypoints: int = 0,
) -> Sample:
    """The sample of an image file; `fields` are those beside boxes and labels that every image of the dataset has.

    keypoints: their number per object, if they are among the fields.
    """
    return Sample(
        id=str(name),
        image=root / name,
        split=split,
        source=str(name),
        size=size,
        boxes=np.array([item.box for item in objects], np.float32).reshape(-1, 4),
        labels=np.array([item.label for item in objects], np.int64),
        masks=[item.mask for item in objects if item.mask is not None] if "masks" in fields else None,
        crowd=np.array([item.crowd for item in objects], np.bool_) if "crowd" in fields else None,
        difficult=np.array([item.difficult for item in objects], np.bool_) if "difficult" in fields else None,
        keypoints=_keypoints(objects, keypoints) if "keypoints" in fields else None,
    )


def _keypoints(objects: Sequence[AnnotatedObject], count: int) -> NDArray[np.float32]:
    return np.array([item.keypoints for item in objects], np.float32).reshape(-1, count, 3)


def split_of(name: PurePosixPath) -> str | None:
    """The split in the words of a path; the last word counts: `annotations/instances_val2017.json` is val."""
    words = re.findall(r"[a-z]+", str(name.with_suffix("") if name.name else name).lower())
    return next((SPLITS[word] for word in reversed(words) if word in SPLITS), None)


def stored_size(path: Path) -> tuple[tuple[int, int], int]:
    """Height and width of an image as its file stores it, and EXIF's orientation, both from its header.

    ImageError if it can't be read.
    """
    try:
        with Image.open(path, formats=images.FORMATS) as image:
            images.check(image, images.ANY)  # some formats are read whole for their EXIF
            width, height = image.size
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # images.decode decides on damaged and unusual files, and names the fault
        height, width = images.decode(path, images.ANY).shape[:2]
        return (height, width), 1
    return (height, width), orientation


def upright_size(path: Path) -> tuple[int, int]:
    """Height and width of an image after EXIF rotation, from its header; ImageError if it can't be read."""
    (height, width), orientation = stored_size(path)
    return (width, height) if orientation in TURNED else (height, width)


def read_bounded(path: Path, limit: int) -> bytes:
    """The bytes of a file; ValueError if it has more than `limit`, or can't be read."""
    try:
        if path.stat().st_size > limit:
            raise ValueError(f"{path.stat().st_size:,} bytes, more than {limit:,}. Split it")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"can't be read ({error.strerror}). Check its permissions") from error


def text(path: Path, limit: int = TEXT_BYTES) -> str:
    """The text of a file in UTF-8, or in UTF-16 that a byte order mark declares; ValueError says what is wrong."""
    content = read_bounded(path, limit)
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        decoded = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("is not UTF-8 text. Save it as UTF-8, or export it again") from error
    return decoded.replace("\r\n", "\n").replace("\r", "\n")


def plain(field: str, name: object) -> PurePosixPath:
    """A field's value as a relative path; ValueError if it is no path or leaves the folder."""
    if not isinstance(name, str) or not PurePosixPath(name).name:
        raise ValueError(f"{field} {name!r} is not a path. Name the file")
    if "\\" in name:
        raise ValueError(f"{field} {name!r} has backslashes. Write / instead")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(f"{field} {name!r} leaves the dataset's folder. Give a path below the images' folder")
    return path
