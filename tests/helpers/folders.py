"""Tiny datasets of each format, with train, val and test; every image is another."""

import json
import struct
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32
COUNTS = {"train": 6, "val": 2, "test": 2}
CLASSES = ("cat", "dog")


def picture(path: Path, seed: int, side: int = SIDE) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def split_pictures(root: Path, place: str) -> list[tuple[str, Path]]:
    """Images at `place`, where {} is the split, with their splits."""
    numbers = count()
    return [
        (split, picture(root / place.format(split) / f"{split}{next(numbers)}.png", hash_of(split, at)))
        for split, many in COUNTS.items()
        for at in range(many)
    ]


def hash_of(split: str, at: int) -> int:
    return list(COUNTS).index(split) * 100 + at


def image_folder(root: Path) -> None:
    for split, many in COUNTS.items():
        for at in range(many):
            picture(root / split / CLASSES[at % 2] / f"{at}.png", hash_of(split, at))


def csv(root: Path) -> None:
    found = split_pictures(root, "pictures")
    lines = [f"pictures/{path.name},{CLASSES[at % 2]},{split}" for at, (split, path) in enumerate(found)]
    (root / "labels.csv").write_text("\n".join(["file,label,split", *lines]) + "\n")


def coco(root: Path) -> None:
    for split in COUNTS:
        here = [path for of, path in split_pictures(root, "{}") if of == split]
        outline = [4, 4, 20, 4, 20, 24, 4, 24]
        document = {
            "categories": [{"id": 1, "name": "cat"}],
            "images": [
                {"id": at, "file_name": path.name, "width": SIDE, "height": SIDE} for at, path in enumerate(here)
            ],
            "annotations": [
                {"id": at, "image_id": at, "category_id": 1, "bbox": [4, 4, 16, 20], "segmentation": [outline]}
                for at in range(len(here))
            ],
        }
        (root / split / "_annotations.coco.json").write_text(json.dumps(document))


def voc(root: Path) -> None:
    box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>20</xmax><ymax>24</ymax></bndbox>"
    lists: dict[str, list[str]] = {}
    for split, path in split_pictures(root, "JPEGImages"):
        text = f"<annotation><object><name>cat</name>{box}</object></annotation>"
        (root / "Annotations").mkdir(exist_ok=True)
        (root / "Annotations" / f"{path.stem}.xml").write_text(text)
        lists.setdefault(split, []).append(path.stem)
    (root / "ImageSets/Main").mkdir(parents=True)
    for split, names in lists.items():
        (root / "ImageSets/Main" / f"{split}.txt").write_text("\n".join(names))


def yolo(root: Path) -> None:
    for _, path in split_pictures(root, "{}/images"):
        label = path.parent.parent / "labels" / f"{path.stem}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text("0 0.5 0.5 0.4 0.3\n")
    folders = "".join(f"{split}: ../{split}/images\n" for split in COUNTS)
    (root / "data.yaml").write_text(f"{folders}nc: 1\nnames: [cat]\n")


def mask_png(root: Path) -> None:
    for at, (_, path) in enumerate(split_pictures(root, "images/{}")):
        mask = root / "masks" / path.relative_to(root / "images")
        mask.parent.mkdir(parents=True, exist_ok=True)
        ids = np.zeros((SIDE, SIDE), np.uint8)
        ids[4:20, 4 : 10 + at] = 1
        ids[20:, :5] = 2
        Image.fromarray(ids).save(mask)


def idx(root: Path) -> None:
    for part, many in (("train", 60), ("t10k", 20)):
        draw = np.random.default_rng(many)
        pixels, labels = draw.integers(0, 256, (many, 28, 28), dtype=np.uint8), np.arange(many, dtype=np.uint8) % 10
        root.mkdir(parents=True, exist_ok=True)
        (root / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, many, 28, 28) + pixels.tobytes())
        (root / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, many) + labels.tobytes())


FOLDERS: dict[str, Callable[[Path], None]] = {
    maker.__name__: maker for maker in (coco, csv, idx, image_folder, mask_png, voc, yolo)
}
