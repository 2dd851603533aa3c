"""The data that has no objects: one picture in every kind of file, and tiles in MNIST's files."""

import gzip
import io
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from tests.data.drawn import shrunk


def write_idx(photographs: dict[str, Image.Image], folder: Path) -> None:
    """MNIST's files: grey tiles of 28×28, eight of each photograph to learn from and two to test with."""
    folder.mkdir()
    parts: dict[str, list[tuple[NDArray[np.uint8], int]]] = {"train": [], "t10k": []}
    for label, (_, photograph) in enumerate(sorted(photographs.items())):
        side = min(photograph.size) // 4
        for number in range(10):
            left, top = number % 4 * side, number // 4 * side
            tile = shrunk(photograph, (left, top, left + side, top + side), (28, 28)).convert("L")
            parts["t10k" if number in (3, 7) else "train"].append((np.asarray(tile), label))
    for part, tiles in parts.items():
        pixels, labels = np.stack([tile for tile, _ in tiles]), bytes(label for _, label in tiles)
        for name, magic, sides, content in (
            ("images-idx3", 0x803, pixels.shape, pixels.tobytes()),
            ("labels-idx1", 0x801, (len(labels),), labels),
        ):
            header = struct.pack(f">{1 + len(sides)}I", magic, *sides)
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(header + content, mtime=0))


def write_pictures(photographs: dict[str, Image.Image], folder: Path) -> None:
    """One small picture in every kind of file: those that can be shown rightly, and those that are refused."""
    good, refused = folder / "shown", folder / "refused"
    good.mkdir(parents=True)
    refused.mkdir()
    picture = shrunk(photographs["coffee"], (120, 0, 480, 360), (48, 32))
    other = shrunk(photographs["cat"], (0, 0, 450, 300), (48, 32))
    for suffix in ("bmp", "gif", "jpg", "png", "tif", "webp"):
        picture.save(good / f"rgb.{suffix}")
    for mode, suffix in (("1", "png"), ("1", "tif"), ("L", "jpg"), ("L", "png"), ("P", "png"), ("CMYK", "jpg")):
        picture.convert(mode).save(good / f"mode-{mode.lower()}.{suffix}")
    picture.convert("LA").save(good / "mode-la.png")
    clear = picture.convert("RGBA")
    clear.putalpha(picture.convert("L"))
    clear.save(good / "mode-rgba.png")
    picture.quantize(16).save(good / "palette-with-transparency.png", transparency=0)
    picture.save(good / "progressive.jpg", progressive=True)
    picture.save(good / "two-pictures.jpg", "MPO", save_all=True, append_images=[other.copy()])
    Image.new("RGB", (2, 2), (90, 30, 10)).save(good / "two-by-two.png")
    (good / "broken-exif.jpg").write_bytes(_with_exif(picture, b"Exif\0\0MM\0*\0\0\0\xff"))
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        picture.save(good / f"orientation-{orientation}.jpg", exif=exif)
    wide = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    Image.fromarray(wide).save(refused / "16-bit.png")
    Image.fromarray(wide).save(refused / "16-bit.tif")
    Image.fromarray(wide.astype(np.float32)).save(refused / "float.tif", compression="tiff_deflate")
    for suffix in ("gif", "png", "tif", "webp"):  # of copies: Pillow keeps the settings of a JPEG with its picture
        picture.copy().save(refused / f"two-frames.{suffix}", save_all=True, append_images=[other.copy()])
    sides = struct.pack("<HH", 65_535, 65_535)  # of 65,535×65,535 pixels, in 38 bytes
    (refused / "bomb.gif").write_bytes(b"GIF89a" + sides + bytes(3) + b"," + bytes(4) + sides + b"\0\2\2\x4c\1\0;")
    data = (good / "rgb.png").read_bytes()
    (refused / "line-ends.png").write_bytes(data.replace(b"\r\n", b"\n"))  # as git leaves what it takes for text
    (refused / "cut.png").write_bytes(data[: len(data) // 2])
    (refused / "cut.jpg").write_bytes((good / "rgb.jpg").read_bytes()[:600])
    (refused / "page.jpg").write_text("<!DOCTYPE html><html><body>Not found</body></html>\n")
    (refused / "empty.png").touch()


def _with_exif(picture: Image.Image, exif: bytes) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()
