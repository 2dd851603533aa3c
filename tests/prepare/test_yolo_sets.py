"""What tools export as YOLO: lists of images, obj.data, classes.txt; numbers from 1; what is asked or refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.prepare.entries import ingest
from pipeline.prepare.findings import Findings
from pipeline.prepare.formats.parts.files import scan
from pipeline.prepare.formats.yolo import read, recognise
from pipeline.sample import Classes, Fault, Sample
from tests.helpers.folders import picture

NAMES = ("bolt", "nut")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def lay(root: Path, image: str, label: str, count: int = 6, line: str = "{c} 0.5 0.5 0.25 0.5\n") -> list[str]:
    """Images and label files at these paths, where {} is a number; returns the images' names."""
    for number in range(count):
        picture(root / image.format(number), number)
        write(root / label.format(number), line.format(c=number % 2))
    return [image.format(number) for number in range(count)]


def listing(root: Path, **options: Any) -> tuple[tuple[str, ...], list[Sample], list[Fault]]:
    classes, *items = read(root, **options)
    assert isinstance(classes, Classes)
    samples = [item for item in items if isinstance(item, Sample)]
    return classes.names, samples, [item for item in items if isinstance(item, Fault)]


def assert_read(root: Path, options: dict[str, Any], splits: set[str | None], warnings: int = 0) -> list[Sample]:
    """The folder is recognised with these options, and read with all objects and no fault."""
    assert recognise(scan(root)) == options
    names, samples, faults = listing(root, **options)
    assert names == NAMES
    assert [fault for fault in faults if not fault.warning] == []
    assert len(faults) == warnings, faults
    assert {sample.split for sample in samples} == splits
    assert [sample.labels.tolist() for sample in samples if sample.labels is not None] == [
        [number % 2] for number in range(len(samples))
    ]
    return samples


def test_cvat_s_ultralytics_export_lists_its_images(tmp_path: Path) -> None:
    images = lay(tmp_path, "images/train/image{}.png", "labels/train/image{}.txt")
    write(tmp_path / "train.txt", "\n".join(images))
    write(tmp_path / "data.yaml", "path: ./ # root\ntrain: train.txt  # relative\nnames:\n  0: bolt\n  1: nut\n")
    assert len(assert_read(tmp_path, {}, {"train"})) == 6


def test_cvat_s_yolo_1_1(tmp_path: Path) -> None:
    for folder, name in (("obj_train_data", "train"), ("obj_valid_data", "valid")):
        images = lay(tmp_path, f"{folder}/{name}_{{}}.PNG", f"{folder}/{name}_{{}}.txt", 2)
        write(tmp_path / f"{name}.txt", "".join(f"data/{image}\r\n" for image in images))
    data = "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\nbackup = backup/\n"
    write(tmp_path / "obj.data", data)
    write(tmp_path / "obj.names", "bolt\nnut\n")
    assert_read(tmp_path, {"data": "obj.data"}, {"train", "val"}, 1)
    write(tmp_path / "obj.data", data.replace("2", "3"))
    (fault,) = listing(tmp_path, data="obj.data")[2]
    assert "`classes` is 3, but obj.names has 2" in fault.reason


def test_labelimg_s_flat_folder(tmp_path: Path) -> None:
    lay(tmp_path, "p{}.png", "p{}.txt")
    write(tmp_path / "classes.txt", "bolt\nnut\n\n")
    samples = assert_read(tmp_path, {"data": "classes.txt"}, {None})
    assert samples[0].boxes is not None
    assert samples[0].boxes.tolist() == [[12, 8, 20, 24]]
    write(tmp_path / "classes.txt", "bolt\n\nnut\n")
    assert "line 2 of classes.txt is empty" in listing(tmp_path, data="classes.txt")[2][0].reason


def test_a_flat_folder_with_data_yaml(tmp_path: Path) -> None:
    lay(tmp_path, "p{}.png", "p{}.txt")
    write(tmp_path / "data.yaml", "train: .\nnames: [bolt, nut]\nnc: '2'\n")
    assert_read(tmp_path, {}, {"train"})


@pytest.mark.parametrize("names", ["classes.txt", "notes.json"])
def test_label_studio_s_folders(names: str, tmp_path: Path) -> None:
    lay(tmp_path, "images/{}.png", "labels/{}.txt")
    write(tmp_path / "classes.txt", "bolt\nnut")
    write(tmp_path / "notes.json", json.dumps({"categories": [{"id": 1, "name": "nut"}, {"id": 0, "name": "bolt"}]}))
    if names == "notes.json":
        (tmp_path / "classes.txt").unlink()
    assert_read(tmp_path, {"data": names}, {None})


def test_label_studio_s_export_without_images(tmp_path: Path) -> None:
    write(tmp_path / "labels/1.txt", "0 0.5 0.5 0.1 0.1")
    write(tmp_path / "classes.txt", "bolt\nnut")
    assert recognise(scan(tmp_path)) == {"data": "classes.txt"}
    faults = listing(tmp_path, data="classes.txt")[2]
    assert any("no image" in fault.reason and "YOLO with Images" in fault.reason for fault in faults)


def test_labelimg_s_names_among_the_labels_and_splits_by_folder(tmp_path: Path) -> None:
    for split in ("train", "Validation"):
        lay(tmp_path, f"{split}/images/{split}{{}}.png", f"{split}/labels/{split}{{}}.txt", 2)
        write(tmp_path / split / "labels/classes.txt", "bolt\nnut\n")
    options = {"data": "Validation/labels/classes.txt"}
    assert_read(tmp_path, options, {"train", "val"})
    write(tmp_path / "train/labels/classes.txt", "nut\nbolt\n")
    (fault,) = listing(tmp_path, **options)[2]
    assert "other names than train/labels/classes.txt" in fault.reason


def test_lists_beside_a_list_of_names(tmp_path: Path) -> None:
    images = lay(tmp_path, "images/{}.png", "labels/{}.txt")
    write(tmp_path / "obj.names", "bolt\nnut\n")
    write(tmp_path / "train.txt", "\n".join(images[:4]))
    write(tmp_path / "valid.txt", "\n".join(images[4:]))
    assert_read(tmp_path, {"data": "obj.names"}, {"train", "val"})


def test_roboflow_s_darknet_export(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        lay(tmp_path, f"{split}/{split}{{}}.jpg", f"{split}/{split}{{}}.txt", 2)
        write(tmp_path / split / "_darknet.labels", "bolt\nnut")
    assert_read(tmp_path, {"data": "train/_darknet.labels"}, {"train", "val"})


def test_labels_beside_images_in_a_folder_images(tmp_path: Path) -> None:
    lay(tmp_path, "images/{}.png", "images/{}.txt")
    write(tmp_path / "data.yaml", "train: images\nnames: {'0': bolt, '1': nut}\n")
    assert_read(tmp_path, {}, {"train"})


def test_captions_are_no_labels(tmp_path: Path) -> None:
    lay(tmp_path, "{}.png", "{}.txt", line="a bolt on a table\n")
    write(tmp_path / "classes.txt", "bolt\nnut\n")
    assert recognise(scan(tmp_path)) is None


def test_lists_of_another_machine(tmp_path: Path) -> None:
    images = lay(tmp_path, "images/{}.png", "labels/{}.txt")
    write(
        tmp_path / "train.txt", "".join(f"C:\\Users\\me\\data\\{Path(image)}\n".replace("/", "\\") for image in images)
    )
    write(tmp_path / "data.yaml", "train: /content/x/train.txt\nnames: [bolt, nut]\n")
    assert_read(tmp_path, {}, {"train"}, 1)


def test_images_that_a_list_names_and_are_not_there(tmp_path: Path) -> None:
    images = lay(tmp_path, "images/{}.png", "labels/{}.txt")
    write(tmp_path / "train.txt", "\n".join([*images, "images/gone.jpg", "images/lost.jpg"]))
    write(tmp_path / "data.yaml", "train: train.txt\nnames: [bolt, nut]\n")
    _, samples, faults = listing(tmp_path)
    assert len(samples) == 6
    assert [fault.where for fault in faults] == [
        "train.txt: line 7 (images/gone.jpg)",
        "train.txt: line 8 (images/lost.jpg)",
    ]
    for name in images:
        (tmp_path / name).unlink()
    assert recognise(scan(tmp_path)) == {}
    faults = listing(tmp_path)[2]
    assert any("none of its 8 images" in fault.reason and "Save images" in fault.reason for fault in faults)


def test_one_list_for_two_splits(tmp_path: Path) -> None:
    write(tmp_path / "train.txt", "\n".join(lay(tmp_path, "images/{}.png", "labels/{}.txt")))
    write(tmp_path / "data.yaml", "train: train.txt\nval: train.txt\nnames: [bolt, nut]\n")
    (warning,) = listing(tmp_path)[2]
    assert warning.warning
    assert "'train.txt' is the list of another split" in warning.reason


@pytest.mark.parametrize(
    ("line", "names"), [("{c}", "[bolt]"), ("1", "[bolt]"), ("2", "[bolt, nut]"), ("7", "[bolt, nut]")]
)
def test_numbers_from_one_block_the_dataset(line: str, names: str, tmp_path: Path) -> None:
    """What is left without the images whose class is out of range would be labelled as another class."""
    lay(tmp_path, "images/{}.png", "labels/{}.txt", line=f"{line} 0.5 0.5 0.2 0.2\n")
    write(tmp_path / "data.yaml", f"train: images\nnames: {names}\n")
    faults = [fault for fault in listing(tmp_path)[2] if fault.blocks]
    assert ["first_class: 1" in fault.reason for fault in faults] == ([] if line == "{c}" else [True])


def test_numbers_from_one_are_read_by_an_option(tmp_path: Path) -> None:
    lay(tmp_path, "images/{}.png", "labels/{}.txt")
    for path in (tmp_path / "labels").iterdir():
        path.write_text(path.read_text().replace("1 ", "2 ", 1).replace("0 0.5 0.5", "1.0 0.5 0.5", 1))
    write(tmp_path / "data.yaml", "train: images\nnames: [bolt, nut]\n")
    _, samples, faults = listing(tmp_path, first_class=1)
    assert faults == []
    assert {tuple(sample.labels.tolist()) for sample in samples if sample.labels is not None} == {(0,), (1,)}
    with pytest.raises(Exception, match="first_class"):
        list(read(tmp_path, first_class=2))


@pytest.mark.parametrize("line", ["0.0 0.5 0.5 0.25 0.5", '"0" "0.5" 0.5 0.25 0.5', "0\t.5\t5e-1\t0.25\t0.5"])
def test_numbers_in_other_spellings(line: str, tmp_path: Path) -> None:
    lay(tmp_path, "images/{}.png", "labels/{}.txt", 1, line)
    write(tmp_path / "data.yaml", "train: images\nnames: [bolt, nut]\n")
    _, (sample,), faults = listing(tmp_path)
    assert faults == []
    assert sample.labels is not None
    assert sample.boxes is not None
    assert (sample.labels.tolist(), sample.boxes.tolist()) == ([0], [[12, 8, 20, 24]])


def test_a_line_twice_is_one_object(tmp_path: Path) -> None:
    lay(tmp_path, "images/{}.png", "labels/{}.txt", line="{c} 0.5 0.5 0.25 0.5\n" * 2)
    write(tmp_path / "data.yaml", "train: images\nnames: [bolt, nut]\n")
    findings = Findings("raw")
    ingest(read(tmp_path), tmp_path / "spool", 64, findings)
    (warning,) = findings.warnings
    assert "6 objects" in warning.reason
    assert "6 images" in warning.reason
