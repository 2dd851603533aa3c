"""Class folders: what is read, what is left out, and what is said about it."""

import os
import unicodedata
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.prepare.formats.image_folder import read
from pipeline.sample import Classes, Fault, Sample


def lay(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not decoded here")


def listing(root: Path, group: str | None = None) -> tuple[Classes, list[Sample], list[Fault]]:
    classes, *items = read(root, group=group)
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
    assert "spelled 'cat'" in told(tmp_path)["train/Cat"]


def test_hidden_and_foreign_files_are_counted(tmp_path: Path) -> None:
    lay(tmp_path, "a/1.png", ".git/x.png", "a/.DS_Store", "a/notes.txt", "README.md", "LICENSE", "b.csv")
    faults = listing(tmp_path)[2]
    assert all(fault.warning for fault in faults)
    assert [fault.reason for fault in faults] == [
        "2 hidden files or folders ignored: .git, a/.DS_Store",
        "4 other files ignored: LICENSE, README.md, a/notes.txt, …",
    ]


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
