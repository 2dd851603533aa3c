"""YOLO text files: where images and labels are looked for, what a line may say, and what is refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.geometry import rle
from pipeline.prepare.formats.yolo import read
from pipeline.sample import Classes, Fault, Sample

DATA = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['cat', 'dog']\n"


def lay(root: Path, labels: dict[str, str | None], data: str = DATA) -> None:
    (root / "data.yaml").write_text(data)
    for name, text in labels.items():
        image = root / f"{name}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10)).save(image)
        if text is not None:
            file = root / f"{name.replace('images', 'labels')}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)


def listing(root: Path, **options: Any) -> tuple[Classes, list[Sample], list[str]]:
    classes, *items = read(root, **options)
    assert isinstance(classes, Classes)
    return (
        classes,
        [item for item in items if isinstance(item, Sample)],
        [str(i) for i in items if isinstance(i, Fault)],
    )


def test_roboflow_s_layout(tmp_path: Path) -> None:
    box = "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.25 0.2 0.5"
    lay(tmp_path, {"train/images/a": box, "train/images/b": "", "valid/images/c": None, "test/images/d": box})
    classes, samples, faults = listing(tmp_path)
    assert classes.names == ("cat", "dog")
    first = samples[0]
    assert first.boxes is not None
    np.testing.assert_allclose(first.boxes, [[8, 3, 12, 7], [0, 0, 4, 5]], atol=1e-5)
    assert first.labels is not None
    assert (first.labels.tolist(), first.size, first.masks) == ([1, 0], (10, 20), None)
    assert [(sample.id, sample.split) for sample in samples] == [
        ("train/images/a.png", "train"),
        ("train/images/b.png", "train"),
        ("valid/images/c.png", "val"),
        ("test/images/d.png", "test"),
    ]
    (warning,) = faults
    assert re.search(r"^\.: 1 images\b.*label file", warning)


@pytest.mark.parametrize(
    "data",
    [
        "path: /content/datasets/x\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}",
        "train: /content/datasets/x/images/train\nvalid: ./images/val/\nnames: [cat, dog]",
        "train: [images\\train]\nval: x/images/val\ntest:\nnames: [cat, dog]",
    ],
)
def test_folders_are_found_by_their_ends(data: str, tmp_path: Path) -> None:
    lay(tmp_path, {"images/train/a": "0 0.5 0.5 0.2 0.4", "images/val/b": "1 0.5 0.5 0.2 0.4"}, data)
    _, samples, faults = listing(tmp_path)
    assert [(sample.id, sample.split) for sample in samples] == [
        ("images/train/a.png", "train"),
        ("images/val/b.png", "val"),
    ]
    assert faults == []


def test_polygons_become_boxes_and_masks(tmp_path: Path) -> None:
    outline = "0 0.1 0.1 0.5 0.1 0.5 0.6 0.1 0.6"
    lay(tmp_path, {"train/images/a": outline}, DATA.replace("val: ../valid/images\n", ""))
    _, (sample,), _ = listing(tmp_path)
    assert sample.boxes is not None
    np.testing.assert_allclose(sample.boxes, [[2, 1, 10, 6]], rtol=1e-6)
    assert sample.masks is not None
    mask = rle.decode(sample.masks[0], 10, 20)
    assert mask[1:6, 2:10].all()
    assert mask.sum() == 40
    assert listing(tmp_path, masks=False)[1][0].masks is None
    (tmp_path / "train/labels/a.txt").write_text(f"{outline}\n0 0.5 0.5 0.2 0.2")
    _, samples, faults = listing(tmp_path)
    assert samples == []
    assert "train/labels/a.txt: line 2: a box, where other lines are polygons" in faults[-1]


def test_shares_count_upright(tmp_path: Path) -> None:
    lay(tmp_path, {"train/images/a": "0 0.5 0.5 1 1"}, DATA)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "train/images/a.png", exif=exif)
    (sample,) = listing(tmp_path)[1]
    assert sample.size == (20, 10)
    np.testing.assert_array_equal(sample.boxes, [[0, 0, 10, 20]])


LINES = {
    "pixels": ("0 100 50 20 30", "line 1: 100 is not a fraction of the image .*pixels"),
    "negative": ("0 0.5 -0.5 0.2 0.2", "-0.5 is not a fraction"),
    "class": ("2 0.5 0.5 0.2 0.2", r"class 2 is not in 0\.\.1"),
    "half a class": ("0.5 0.5 0.5 0.2 0.2", "class 0.5"),
    "confidence": ("0 0.5 0.5 0.2 0.2 0.9", "predictions with a confidence"),
    "odd": ("0 0.5 0.5 0.2 0.2 0.9 0.1 0.3", "8 numbers"),
    "short": ("0 0.5", "2 numbers"),
    "nan": ("0 nan 0.5 0.2 0.2", "finite"),
    "words": ("cat 0.5 0.5 0.2 0.2", "not all numbers"),
    "no area": ("0 0.5 0.5 0 0.2", "no area"),
    "inverted": ("0 0.5 0.5 -0.2 0.2", "-0.2 is not a fraction"),
    "a little inverted": ("0 0.5 0.5 0.2 -0.001", "no area"),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_refused(name: str, tmp_path: Path) -> None:
    text, reason = LINES[name]
    lay(tmp_path, {"train/images/a": text, "valid/images/b": "", "test/images/c": ""})
    _, samples, faults = listing(tmp_path)
    assert [sample.split for sample in samples] == ["val", "test"]
    with pytest.raises(AssertionError, match=f"train/labels/a.txt: line 1: .*{reason.removeprefix('line 1: ')}"):
        raise AssertionError("\n".join(faults))


SETTINGS = {
    "no names": ("train: train/images", "`names` is not a list"),
    "count": (DATA.replace("2", "3"), "`nc` is 3, but `names` has 2"),
    "keys": ("names: {1: cat, 2: dog}", "keys are not 0, 1, 2"),
    "twice": ("names: [cat, cat]", "a name twice"),
    "yaml": ("names: [", "data.yaml: not valid YAML. Line 1: "),
    "key twice": ("nc: 1\nnc: 1", "not valid YAML"),
    "text": ("names", "no settings"),
    "key points": (f"{DATA}kpt_shape: [17, 3]", "kpt_shape"),
    "list": (DATA.replace("../train/images", "train.txt"), "`train`: no file ends with 'train.txt'"),
    "number": (DATA.replace("../train/images", "3"), "`train`: 3 is not a path"),
    "count as text": (DATA.replace("nc: 2", "nc: two"), "`nc` is two, but `names` has 2"),
    "another machine's file": (DATA.replace("../train/images", "C:\\\\data\\\\gone"), "`train`: no folder ends with"),
    "nowhere": (DATA.replace("train/images", "elsewhere"), "`train`: no folder ends with '../elsewhere'"),
    "nowhere at all": (
        "train: x\nnames: [cat, dog]",
        "data.yaml: `train`: no folder ends with 'x'; images are in test/images, train/images, valid/images.",
    ),
    "nothing": ("names: [cat, dog]", "names no folder of images"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_refused(name: str, tmp_path: Path) -> None:
    data, reason = SETTINGS[name]
    lay(tmp_path, {"train/images/a": "", "valid/images/b": "", "test/images/c": ""}, data)
    assert reason in "\n".join(listing(tmp_path)[2])


def test_what_is_missing_is_reported(tmp_path: Path) -> None:
    lay(tmp_path, {"train/images/a": None, "extra/images/b": None}, DATA)
    told = "\n".join(listing(tmp_path)[2])
    assert re.search(r"label file.*train/labels/a\.txt", told)
    assert re.search(r"\b1 images\b.*data\.yaml.*extra/images/b\.png", told)
    (tmp_path / "data.yaml").rename(tmp_path / "other.yaml")
    assert "`data` to one of: other.yaml" in listing(tmp_path)[2][0]
    (tmp_path / "train/images/a.png").write_bytes(b"<html>")
    (tmp_path / "train/labels").mkdir()
    (tmp_path / "train/labels/a.txt").touch()
    assert "train/images/a.png: this looks like HTML" in "\n".join(listing(tmp_path, data="other.yaml")[2])
