"""Class folders: what is read, what is left out, and what is said about it."""

import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import UserError
from pipeline.prepare.formats.image_folder import read, recognise
from pipeline.prepare.formats.parts.doubt import Doubt
from pipeline.prepare.formats.parts.files import scan
from pipeline.sample import Classes, Fault, Sample


def lay(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not decoded here")


def listing(root: Path, **options: Any) -> tuple[Classes, list[Sample], list[Fault]]:
    classes, *items = read(root, **options)
    assert isinstance(classes, Classes)
    samples = [item for item in items if isinstance(item, Sample)]
    return classes, samples, [item for item in items if isinstance(item, Fault)]


def told(root: Path) -> dict[str, str]:
    return {fault.where: fault.reason for fault in listing(root)[2]}


def test_class_folders(tmp_path: Path) -> None:
    lay(tmp_path, "dog/2.JPG", "dog/10.png", "cat/deep/1.jpeg", "dog/1.tiff")
    classes, samples, faults = listing(tmp_path)
    assert classes.names == ("cat", "dog")
    assert [(sample.id, sample.label) for sample in samples] == [
        ("cat/deep/1.jpeg", 0),
        ("dog/1.tiff", 1),
        ("dog/10.png", 1),
        ("dog/2.JPG", 1),
    ]
    assert all(sample.split is None and sample.group is None for sample in samples)
    assert samples[0].image == tmp_path / "cat/deep/1.jpeg"
    assert faults == []


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders(tmp_path: Path, val: str) -> None:
    lay(tmp_path, "train/cat/1.png", "train/dog/1.png", f"{val}/cat/1.png", "test/eel/1.png")
    classes, samples, faults = listing(tmp_path)
    assert classes.names == ("cat", "dog", "eel")
    assert {(sample.id, sample.split, sample.label) for sample in samples} == {
        ("train/cat/1.png", "train", 0),
        ("train/dog/1.png", "train", 1),
        (f"{val}/cat/1.png", "val", 0),
        ("test/eel/1.png", "test", 2),
    }
    assert faults == []


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    lay(tmp_path, "train/1.png", "bus/1.png")
    assert listing(tmp_path)[0].names == ("bus", "train")


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("Train Data", "Test Data"),
        ("train/train", "test/test"),
    ],
)
def test_split_folders_of_other_names(tmp_path: Path, train: str, test: str) -> None:
    lay(tmp_path, f"{train}/cats/1.png", f"{train}/dogs/1.png", f"{test}/dogs/1.png", f"{test}/cats/1.png")
    assert recognise(scan(tmp_path)) == {}
    classes, samples, faults = listing(tmp_path)
    assert (classes.names, faults) == (("cats", "dogs"), [])
    assert {(sample.id, sample.split, sample.label) for sample in samples} == {
        (f"{train}/cats/1.png", "train", 0),
        (f"{train}/dogs/1.png", "train", 1),
        (f"{test}/dogs/1.png", "test", 1),
        (f"{test}/cats/1.png", "test", 0),
    }


def test_pictures_beside_split_folders_of_other_names_are_faults(tmp_path: Path) -> None:
    lay(tmp_path, "seg_train/sea/1.png", "seg_train/ice/1.png", "seg_test/sea/1.png", "seg_pred/1.png")
    assert listing(tmp_path)[0].names == ("ice", "sea")
    assert "not a split" in told(tmp_path)["seg_pred"]


@pytest.mark.parametrize("names", [("training_set/1.png", "test_set/1.png"), ("train_set/a/1.png", "test_set/b/1.png")])
def test_where_names_of_splits_hold_no_common_classes_add_asks(tmp_path: Path, names: tuple[str, ...]) -> None:
    lay(tmp_path, *names)
    answer = recognise(scan(tmp_path))
    assert isinstance(answer, Doubt)
    assert "named like splits" in answer.reason


def test_a_class_called_train_may_have_sub_folders_as_the_others_have(tmp_path: Path) -> None:
    lay(tmp_path, *(f"{kind}/{source}/1.png" for kind in ("bus", "car", "train") for source in ("own", "web")))
    assert recognise(scan(tmp_path)) == {}
    classes, samples, faults = listing(tmp_path)
    assert (classes.names, len(samples), faults) == (("bus", "car", "train"), 6, [])


def test_a_folder_train_beside_another_is_asked_about_and_an_option_decides(tmp_path: Path) -> None:
    lay(tmp_path, "train/cat/1.png", "train/dog/1.png", "new/1.png")
    answer = recognise(scan(tmp_path))
    assert isinstance(answer, Doubt)
    assert "splits: false" in answer.reason
    _, samples, (fault,) = listing(tmp_path)
    assert (samples, fault.blocks) == ([], True)
    assert "new, train" in fault.reason
    classes, samples, faults = listing(tmp_path, splits=False)
    assert (classes.names, len(samples), faults) == (("new", "train"), 3, [])
    classes, samples, (fault,) = listing(tmp_path, splits=True)
    assert (classes.names, [sample.split for sample in samples]) == (("cat", "dog"), ["train", "train"])
    assert (fault.where, fault.blocks) == ("new", False)


def test_the_option_splits_is_checked(tmp_path: Path) -> None:
    lay(tmp_path, "cat/1.png", "dog/1.png")
    for wrong, reason in (("yes", "neither true nor false"), (True, "no folder is named like a split")):
        with pytest.raises(UserError, match=f"option splits: .*{reason}"):
            list(read(tmp_path, splits=wrong))  # type: ignore[arg-type]


def test_images_right_in_split_folders_are_no_classes(tmp_path: Path) -> None:
    lay(tmp_path, "train/1.png", "test/1.png")
    classes, samples, _ = listing(tmp_path)
    assert (classes.names, samples) == ((), [])
    assert "outside any class folder" in told(tmp_path)["train/1.png"]


def test_misplaced_folders(tmp_path: Path) -> None:
    lay(tmp_path, "train/a/1.png", "val/a/1.png", "valid/a/2.png", "extra/a/1.png", "1.png", "train/2.png")
    (tmp_path / "val" / "b").mkdir()
    faults = told(tmp_path)
    assert "beside split folders" in faults["extra"]
    assert "second folder for val" in faults["valid"]
    assert "outside any class folder" in faults["1.png"]
    assert "outside any class folder" in faults["train/2.png"]
    assert "without an image" in faults["val/b"]
    assert [sample.id for sample in listing(tmp_path)[1]] == ["train/a/1.png", "val/a/1.png"]


def test_a_class_spelled_in_two_ways(tmp_path: Path) -> None:
    lay(tmp_path, "train/Cat/1.png", "test/cat/1.png")
    (fault,) = listing(tmp_path)[2]
    assert (fault.where, fault.blocks) == ("train/Cat", True)
    assert "spelled 'cat'" in fault.reason


def test_hidden_and_foreign_files_are_counted(tmp_path: Path) -> None:
    lay(tmp_path, "a/1.png", ".git/x.png", "a/.DS_Store", "a/notes.txt", "README.md", "LICENSE", "b.csv")
    faults = listing(tmp_path)[2]
    assert all(fault.warning for fault in faults)
    assert [fault.reason for fault in faults] == [
        "2 hidden files or folders ignored: .git, a/.DS_Store",
        "4 other files ignored: LICENSE, README.md, a/notes.txt, …",
    ]


JPEG, AVIF = b"\xff\xd8\xff\xe0" + bytes(40), b"\0\0\0\x1cftypavif" + bytes(40)
HEIC = b"\0\0\0\x18ftypheic" + bytes(40)


def test_images_that_are_left_out_by_their_suffix_are_reported_as_images(tmp_path: Path) -> None:
    lay(tmp_path, "a/1.png", "b/2.avif", "b/3.jfif", "b/4.JPE", "a/notes.doc")
    files = {"a/IMG_1.HEIC": HEIC, "b/IMG_2.HEIC": HEIC, "b/0017": JPEG, "a/x.jpg~": JPEG, "a/new": AVIF}
    for name, data in {**files, "a/raw.NEF": b"MM\0*" + bytes(40)}.items():
        (tmp_path / name).write_bytes(data)
    _, samples, faults = listing(tmp_path)
    assert [sample.id for sample in samples] == ["a/1.png", "b/2.avif", "b/3.jfif", "b/4.JPE"]
    assert all(fault.warning for fault in faults)
    others, *reasons = [fault.reason for fault in faults]
    assert others == "1 other files ignored: a/notes.doc"
    for words in (
        ("2 images are left out", "a/IMG_1.HEIC, b/IMG_2.HEIC", "HEIC", "*.HEIC"),
        ("1 images are left out", "b/0017", "JPEG", "no suffix", ".jpg"),
        ("1 images are left out", "a/x.jpg~", "JPEG", "the suffix .jpg~"),
        ("1 images are left out", "a/new", "AVIF", ".avif"),
        ("1 images are left out", "a/raw.NEF", "raw files"),
    ):
        assert [reason for reason in reasons if all(word in reason for word in words)], words


def test_traps_are_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    lay(root, "a/1.png", "a/folder.jpg/x.png")
    lay(tmp_path, "outside.png", "elsewhere/1.png")
    os.mkfifo(root / "a" / "pipe.png")
    links = {"out.png": tmp_path / "outside.png", "gone.png": root / "none", "self.png": root / "a" / "self.png"}
    links |= {"good.png": root / "a" / "1.png", "up": root}
    for name, target in links.items():
        (root / "a" / name).symlink_to(target)
    (root / "b").symlink_to(tmp_path / "elsewhere")
    faults = told(root)
    assert "name of an image" in faults.pop("a/folder.jpg")
    assert "not a regular file" in faults.pop("a/pipe.png")
    assert "outside" in faults.pop("a/out.png")
    assert "broken or circular link" in faults.pop("a/gone.png")
    assert "broken or circular link" in faults.pop("a/self.png")
    assert "other than a file" in faults.pop("a/up")
    assert "outside" in faults.pop("b")
    assert faults == {}
    assert [sample.id for sample in listing(root)[1]] == ["a/1.png", "a/good.png"]


def test_names_that_other_systems_merge(tmp_path: Path) -> None:
    nfc, nfd = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    lay(tmp_path, "a/X.png", "a/x.png", f"a/{nfc}", f"a/{nfd}", "A/1.png")
    faults = told(tmp_path)
    assert set(faults) == {"a"}
    lay(tmp_path, "b/X.png", "b/x.png", f"b/{nfc}", f"b/{nfd}")
    assert set(told(tmp_path)) == {"a", "b/x.png", f"b/{nfc}"}


def test_empty_and_missing_roots(tmp_path: Path) -> None:
    assert "holds no image" in told(tmp_path)["."]
    with pytest.raises(UserError, match=r"dvc add"):
        list(read(tmp_path / "none"))
    lay(tmp_path, "file.png")
    with pytest.raises(UserError, match="not a folder"):
        list(read(tmp_path / "file.png"))


def test_groups_come_from_names(tmp_path: Path) -> None:
    lay(tmp_path, "a/ann_1.png", "b/ann_2.png", "b/bob_1.png", "b/odd.png")
    _, samples, faults = listing(tmp_path, group=r"/(\w+)_\d+\.")
    assert [sample.group for sample in samples] == ["ann", "ann", "bob"]
    assert [fault.where for fault in faults] == ["b/odd.png"]
    for wrong in ("(", "no bracket"):
        with pytest.raises(UserError, match="option group"):
            list(read(tmp_path, group=wrong))
