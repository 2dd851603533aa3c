"""Folders that look like classes and are none: each is doubted, with the reason; real classes are not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.prepare.formats import image_folder
from pipeline.prepare.formats.parts import folder_names
from pipeline.prepare.formats.parts.doubt import Doubt
from pipeline.prepare.formats.parts.files import scan
from tests.helpers.folders import picture


def pictures(root: Path, *folders: str, number: int = 4, suffix: str = ".png") -> None:
    """Noise; pictures of different folders have the same names, as where a camera or a script numbers them."""
    for place, folder in enumerate(folders):
        for at in range(number):
            picture(root / folder / f"{at}{suffix}", 100 * place + at)


def masks(root: Path, *folders: str, number: int = 4, suffix: str = ".png") -> None:
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for at in range(number):
            pixels = np.zeros((32, 32), np.uint8)
            pixels[: 8 + at] = 255
            Image.fromarray(pixels).save(root / folder / f"{at}{suffix}")


def beside(root: Path, folder: str, suffix: str) -> None:
    pictures(root, folder)
    for path in sorted((root / folder).glob("*.png")):
        path.with_suffix(suffix).write_text("0 0.5 0.5 0.1 0.1\n")


def camvid(root: Path) -> None:
    for split in ("train", "val", "test"):
        pictures(root, split)
        masks(root, f"{split}annot")


def mmsegmentation(root: Path) -> None:
    for split in ("train", "val"):
        pictures(root, f"img_dir/{split}")
        masks(root, f"ann_dir/{split}")


def nameless_masks(root: Path) -> None:
    pictures(root, "site", suffix=".jpg")
    masks(root, "drawn")


def masks_with_endings(root: Path) -> None:
    pictures(root, "scans")
    masks(root, "by_hand")
    for path in list((root / "by_hand").iterdir()):
        path.rename(path.with_name(f"{path.stem}_mask.png"))


def labels_beside(root: Path) -> None:
    for folder in ("monday", "tuesday"):
        beside(root, folder, ".txt")


def labels_elsewhere(root: Path) -> None:
    for folder in ("north", "south"):
        beside(root, f"{folder}/images", ".xml")


def anomalies(root: Path) -> None:
    """As in MVTec AD, where each folder is a dataset with pictures without a fault to learn from."""
    for thing in ("bottle", "cable"):
        pictures(root / thing, "train/good", "test/good", "test/broken")
        masks(root / thing, "ground_truth/broken")


def one_each(root: Path) -> None:
    pictures(root, *(f"item{at}" for at in range(9)), number=1)


#: builder → words of the reason
DOUBTED: dict[Callable[[Path], None], tuple[str, ...]] = {
    camvid: ("testannot", "splits", "masks/1.png"),
    mmsegmentation: ("ann_dir, img_dir", "annotations", "--format mask_png"),
    nameless_masks: ("drawn", "site", "masks"),
    masks_with_endings: ("by_hand", "scans", "masks"),
    labels_beside: ("8 images", "monday/0.png", ".txt"),
    labels_elsewhere: ("north/images/0.png", ".xml"),
    anomalies: ("bottle, cable", "test, train", "add one of them"),
    one_each: ("9 folders hold 9 images",),
    lambda root: pictures(root, "trainA", "trainB", "testA", "testB"): ("testA", "trainA", "splits"),
    lambda root: pictures(root, "100CANON", "101CANON"): ("100CANON, 101CANON", "parts"),
    lambda root: pictures(root, "2024-05-30", "2024-05-31 garden"): ("2024-05-30", "days"),
    lambda root: pictures(root, "images_001/images", "images_002/images"): ("images_001", "parts"),
    lambda root: pictures(root, "fold1", "fold2", "fold3"): ("fold1", "parts"),
    lambda root: pictures(root, "imagesTr", "labelsTr", "imagesTs"): ("imagesTr", "annotations"),
}


@pytest.mark.parametrize("build", DOUBTED)
def test_what_is_no_class_is_doubted_with_the_reason(build: Callable[[Path], None], tmp_path: Path) -> None:
    build(tmp_path)
    answer = image_folder.recognise(scan(tmp_path))
    assert isinstance(answer, Doubt)
    assert not [word for word in DOUBTED[build] if word not in answer.reason]


@pytest.mark.parametrize(
    "names",
    [
        ("cat", "dog"),
        ("with_mask", "without_mask"),
        ("mask", "no_mask"),
        ("train_station", "bus_station"),
        ("train", "bus", "plane"),
        ("0", "1", "2"),
        ("source", "drain"),
        ("covid_test", "prescription", "invoice"),
        ("n01440764", "n01443537"),
        ("Käfer", "Würmer"),
    ],
)
def test_classes_are_not_doubted_even_if_their_images_have_the_same_names(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    pictures(tmp_path, *names)
    assert image_folder.recognise(scan(tmp_path)) == {}


def test_classes_of_drawings_in_black_and_white_are_not_doubted(tmp_path: Path) -> None:
    masks(tmp_path, "alpha", "beta")
    assert image_folder.recognise(scan(tmp_path)) == {}


def test_pictures_that_can_not_be_read_are_left_to_the_reader(tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"nothing")
    assert image_folder.recognise(scan(tmp_path)) == {}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("training_set", "train"),
        ("test_set", "test"),
        ("seg_train", "train"),
        ("Validation Data", "val"),
        ("TrainImages", "train"),
        ("train_station", None),
        ("train2", None),
        ("trainA", None),
        ("data", None),
    ],
)
def test_a_name_is_a_split_if_its_other_words_say_nothing(name: str, split: str | None) -> None:
    assert folder_names.split_of(name) == split
