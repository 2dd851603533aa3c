"""Masks as pictures: pairing, what values mean, and that nothing unknown becomes a class."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import UserError
from pipeline.prepare.formats.mask_png import read, recognise
from pipeline.prepare.formats.parts.files import scan
from pipeline.sample import IGNORE, Classes, Fault, Sample
from tests.helpers.small_data import DATA

TWO = ["ground", "road"]


def save(path: Path, values: Sequence[Any], mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.array(values, np.uint8))
    if mode == "P":
        picture = Image.frombytes("P", picture.size, picture.tobytes())
        picture.putpalette([7, 8, 9] * 256)
    (picture if mode in {None, "P"} else picture.convert(mode)).save(path)


def pair(root: Path, values: Sequence[Any], name: str = "1", mode: str | None = None) -> None:
    save(root / "images" / f"{name}.png", np.zeros((1, 3, 3)).tolist())
    save(root / "masks" / f"{name}.png", values, mode)


def listing(root: Path, **options: Any) -> tuple[tuple[str, ...], dict[str, Sample], dict[str, str]]:
    classes, *items = read(root, **options)
    assert isinstance(classes, Classes)
    faults = {item.where: item.reason for item in items if isinstance(item, Fault) and not item.warning}
    return classes.semantic, {item.id: item for item in items if isinstance(item, Sample)}, faults


def maps(root: Path, **options: Any) -> list[NDArray[np.uint8]]:
    _, samples, faults = listing(root, **options)
    assert faults == {}
    return [sample.semantic for sample in samples.values() if sample.semantic is not None]


@pytest.mark.parametrize("mode", [None, "P", "RGB", "RGBA", "LA"])
def test_ids_of_every_mode(tmp_path: Path, mode: str | None) -> None:
    pair(tmp_path, [[0, 2, 255]], mode=mode)
    (found,) = maps(tmp_path, classes=["a", "b", "c"])
    assert found.dtype == np.uint8
    assert found.tolist() == [[0, 2, IGNORE]]


def test_one_bit_masks(tmp_path: Path) -> None:
    pair(tmp_path, [[0, 255, 255]], mode="1")
    assert maps(tmp_path, classes=TWO)[0].tolist() == [[0, 1, 1]]


def test_black_and_white_are_two_classes_unless_a_mask_holds_a_one(tmp_path: Path) -> None:
    pair(tmp_path, [[0, 255, 0]], "1")
    pair(tmp_path, [[0, 0, 0]], "2")
    assert [found.tolist() for found in maps(tmp_path, classes=TWO)] == [[[0, 1, 0]], [[0, 0, 0]]]
    pair(tmp_path, [[1, 1, 0]], "3")
    assert maps(tmp_path, classes=TWO)[0].tolist() == [[0, IGNORE, 0]]
    assert maps(tmp_path, classes=[*TWO, "sky"])[0].tolist() == [[0, IGNORE, 0]]


def test_values_and_colours(tmp_path: Path) -> None:
    pair(tmp_path, [[0, 128, 64]])
    assert maps(tmp_path, classes=TWO, values=[128, 0], ignore=64)[0].tolist() == [[1, 0, IGNORE]]
    pair(tmp_path, [[[0, 0, 0], [128, 64, 255], [9, 9, 9]]])
    assert maps(tmp_path, classes=TWO, values=[0, [128, 64, 255]], ignore=[9, 9, 9])[0].tolist() == [[0, 1, IGNORE]]
    assert "Name each class's" in listing(tmp_path, classes=TWO)[2]["masks/1.png"]
    told = listing(tmp_path, classes=TWO, values=[[0, 0, 0], [1, 1, 1]])[2]["masks/1.png"]
    assert told.startswith("unknown values [9, 9, 9] on 1 px, [128, 64, 255] on 1 px; the classes have [0, 0, 0]")


def test_unknown_values_are_counted(tmp_path: Path) -> None:
    pair(tmp_path, [[0, 7, 7]])
    assert "unknown values 7 on 2 px; the classes have 0, 1." in listing(tmp_path, classes=TWO)[2]["masks/1.png"]


@pytest.mark.parametrize(
    "names",
    [
        ("images/{s}/1.jpg", "masks/{s}/1.png"),
        ("{s}/images/1.jpg", "{s}/Masks/1_mask.png"),
        ("{s}/1.jpg", "{s}/1_mask.png"),
    ],
)
def test_layouts_and_splits(tmp_path: Path, names: tuple[str, str]) -> None:
    for split in ("train", "valid", "test"):
        for name in names:
            save(tmp_path / name.format(s=split), [[0, 1, 1]])
    _, samples, faults = listing(tmp_path, classes=TWO)
    assert faults == {}
    assert {sample.split for sample in samples.values()} == {"train", "val", "test"}
    assert len(samples) == 3


def test_roboflow_table_names_the_classes(tmp_path: Path) -> None:
    for split in ("train", "test"):
        save(tmp_path / split / "1.jpg", [[0, 1, 1]])
        save(tmp_path / split / "1_mask.png", [[0, 3, 3]])
        (tmp_path / split / "_classes.csv").write_text("Pixel Value, Class\n3, road\n0, background\n")
    assert listing(tmp_path)[0] == ("background", "road")
    assert maps(tmp_path)[0].tolist() == [[0, 1, 1]]
    (tmp_path / "test" / "_classes.csv").write_text("Pixel Value, Class\n3, street\n0, background\n")
    with pytest.raises(UserError, match="other classes than"):
        list(read(tmp_path))
    (tmp_path / "test" / "_classes.csv").write_text("filename, road\n1.jpg, 1\n")
    with pytest.raises(UserError, match="not a table"):
        list(read(tmp_path))


CITY = {"images": "leftImg8bit", "masks": "gtFine", "image_ending": "_leftImg8bit", "mask_ending": "_gtFine_labelIds"}


def cityscapes(root: Path) -> None:
    """The folders of Cityscapes: beside the ids lie the same in colour, instances, and outlines."""
    for split, city in (("train", "aachen"), ("val", "ulm")):
        for number in range(2):
            stem = f"{city}_00000{number}_000019"
            save(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", np.zeros((1, 4, 3)).tolist())
            folder = root / "gtFine" / split / city
            save(folder / f"{stem}_gtFine_labelIds.png", [[7, 11, 3, 7]])
            save(folder / f"{stem}_gtFine_color.png", [[[128, 64, 128]] * 4])
            save(folder / f"{stem}_gtFine_instanceIds.png", [[7, 11, 3, 7]])
            save(folder / f"{stem}_gtFine_labelTrainIds.png", [[0, 2, 255, 0]])
            (folder / f"{stem}_gtFine_polygons.json").write_text("{}")


def test_cityscapes(tmp_path: Path) -> None:
    cityscapes(tmp_path)
    options: dict[str, Any] = {"classes": ["road", "building"], "values": [7, 11], **CITY}
    _, samples, faults = listing(tmp_path, **options, ignore_others=True)
    assert faults == {}
    assert [(item.split, item.semantic.tolist()) for item in samples.values() if item.semantic is not None] == [
        (split, [[0, 1, IGNORE, 0]]) for split in ("train", "train", "val", "val")
    ]
    told = listing(tmp_path, **options)[2]
    assert len(told) == 4
    assert all("3 on 1 px" in text and "`ignore_others`" in text for text in told.values())
    by_train = {**CITY, "mask_ending": "_gtFine_labelTrainIds"}
    classes = ["road", "sidewalk", "building"]
    assert [ids.tolist() for ids in maps(tmp_path, classes=classes, **by_train)] == [[[0, 2, IGNORE, 0]]] * 4
    found = recognise(scan(tmp_path))
    assert found == {**CITY, "classes": ["class-3", "class-7", "class-11"], "values": [3, 7, 11]}
    assert [ids.tolist() for ids in maps(tmp_path, **found)] == [[[1, 2, 0, 1]]] * 4


def test_ade(tmp_path: Path) -> None:
    """0 is what nobody named, and classes are counted from 1."""
    for split in ("training", "validation"):
        save(tmp_path / "images" / split / f"ADE_{split}_1.jpg", np.zeros((1, 4, 3)).tolist())
        save(tmp_path / "annotations" / split / f"ADE_{split}_1.png", [[0, 1, 3, 2]])
    names = ["wall", "building", "sky"]
    _, samples, faults = listing(tmp_path, classes=names, masks="annotations", ignore=0)
    assert faults == {}
    assert {item.split for item in samples.values()} == {"train", "val"}
    assert [ids.tolist() for ids in maps(tmp_path, classes=names, masks="annotations", ignore=0)] == [
        [[IGNORE, 0, 2, 1]]
    ] * 2
    assert "unknown values 3 on 1 px" in str(listing(tmp_path, classes=names, masks="annotations")[2])


def voc(root: Path) -> None:
    """PASCAL VOC: few of the images are segmented, and beside the classes lie the objects."""
    for name in ("2007_1", "2007_2", "2007_3", "2007_4"):
        save(root / "JPEGImages" / f"{name}.jpg", np.zeros((1, 3, 3)).tolist())
    for name in ("2007_1", "2007_2", "2007_3"):
        save(root / "SegmentationClass" / f"{name}.png", [[0, 15, IGNORE]], "P")
        save(root / "SegmentationObject" / f"{name}.png", [[0, 1, IGNORE]], "P")
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Main").mkdir()
    for name, text in {"train": "2007_1\n", "val": "2007_2\n", "trainval": "2007_1\n2007_2\n"}.items():
        (root / "ImageSets" / "Segmentation" / f"{name}.txt").write_text(text)
    (root / "ImageSets" / "Main" / "train.txt").write_text("2007_4\n")


VOC: dict[str, Any] = {"images": "JPEGImages", "masks": "SegmentationClass", "lists": "Segmentation"}
VOC |= {"classes": ["background", "person"], "values": [0, 15]}


def test_pascal_voc(tmp_path: Path) -> None:
    voc(tmp_path)
    _, samples, faults = listing(tmp_path, **VOC)
    assert faults == {}
    assert {name: (item.split, item.semantic.tolist()) for name, item in samples.items()} == {  # type: ignore[union-attr]
        "JPEGImages/2007_1.jpg": ("train", [[0, 1, IGNORE]]),
        "JPEGImages/2007_2.jpg": ("val", [[0, 1, IGNORE]]),
    }
    told = [item.reason for item in read(tmp_path, **VOC) if isinstance(item, Fault)]
    assert len(told) == 1
    assert told[0].startswith("7 other files ignored: ImageSets/Main/train.txt, JPEGImages/2007_3.jpg")


def test_a_list_that_names_no_mask_and_one_that_is_not_there(tmp_path: Path) -> None:
    voc(tmp_path)
    (tmp_path / "ImageSets" / "Segmentation" / "test.txt").write_text("2007_2\n2007_4\n")
    assert listing(tmp_path, **VOC)[2] == {
        "ImageSets/Segmentation/test.txt: line 2": "'2007_4' has no mask. Add 2007_4.png or remove the line.",
        "ImageSets/Segmentation/val.txt: line 1": "'2007_2' is in ImageSets/Segmentation/test.txt, too. "
        "Remove it from one of the two.",
    }
    with pytest.raises(UserError, match=r"option lists: no folder Segmentations has a train\.txt"):
        listing(tmp_path, **{**VOC, "lists": "Segmentations"})


def test_lonely_and_doubled_files(tmp_path: Path) -> None:
    pair(tmp_path, [[0, 1, 1]])
    save(tmp_path / "images" / "2.png", [[0]])
    save(tmp_path / "masks" / "3.png", [[0]])
    save(tmp_path / "masks" / "1_mask.png", [[0]])
    save(tmp_path / "images" / "1.bmp", [[0, 0, 0]])
    faults = listing(tmp_path, classes=TWO)[2]
    assert "without a mask" in faults.pop("images/2.png")
    assert "without an image" in faults.pop("masks/3.png")
    assert {name.split("/")[0] for name in faults} == {"images", "masks"}
    assert len(faults) == 2


def test_jpeg_and_broken_masks_are_refused(tmp_path: Path) -> None:
    pair(tmp_path, [[0, 1, 1]], "1")
    pair(tmp_path, [[0, 1, 1]], "2")
    save(tmp_path / "images" / "3.png", [[0, 0, 0]])
    save(tmp_path / "masks" / "3.jpg", [[0, 1, 1]])
    (tmp_path / "masks" / "3.jpg").rename(tmp_path / "masks" / "3.png")
    whole = (tmp_path / "masks" / "2.png").read_bytes()
    (tmp_path / "masks" / "2.png").write_bytes(whole[:45])
    _, samples, faults = listing(tmp_path, classes=TWO)
    assert list(samples) == ["images/1.png"]
    assert "JPEG changes values" in faults["masks/3.png"]
    assert "again as PNG" in faults["masks/2.png"]


def test_wrong_options_are_reported(tmp_path: Path) -> None:
    assert "has no image" in listing(tmp_path)[2]["."]
    pair(tmp_path, [[0, 1, 1]])
    with pytest.raises(UserError, match="nothing names the classes"):
        list(read(tmp_path))
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("classes", {"classes": "road"}),
        ("classes", {"classes": ["a", "a"]}),
        ("values", {"classes": TWO, "values": [1]}),
        ("values", {"classes": TWO, "values": [1, 1]}),
        ("values", {"classes": TWO, "values": [1, [1, 2]]}),
        ("ignore", {"classes": TWO, "ignore": 70_000}),
        ("masks", {"classes": TWO, "masks": 3}),
    ]
    for option, options in wrong:
        with pytest.raises(UserError, match=f"option {option}"):
            list(read(tmp_path, **options))


def test_a_mask_of_another_size_is_a_fault(tmp_path: Path) -> None:
    for folder, name in (("images", "astronaut-1.jpg"), ("masks", "cat-1_mask.png")):
        (tmp_path / folder).mkdir()
        shutil.copy(DATA / "masks/train" / name, tmp_path / folder / f"1{Path(name).suffix}")
    faults = listing(tmp_path, classes=["background", "face"])[2]
    assert "label map of 120×80 for an image of 128×128" in faults["masks/1.png"]
