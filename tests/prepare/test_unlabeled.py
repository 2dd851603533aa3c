"""Images without labels: read for generation, and never taken for anything without a question."""

from pathlib import Path

import pytest

from pipeline.prepare.formats import unlabeled
from pipeline.prepare.formats.parts.files import scan
from pipeline.sample import Classes, Sample
from tests.helpers.folders import picture


def lay(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        picture(root / name, number)


def splits(root: Path) -> dict[str, str | None]:
    classes, *items = unlabeled.read(root)
    assert classes == Classes()
    return {item.id: item.split for item in items if isinstance(item, Sample)}


def test_every_image_is_read_and_folders_of_splits_count_if_all_lie_in_them(tmp_path: Path) -> None:
    lay(tmp_path, "train/a.png", "test/deep/b.png")
    assert splits(tmp_path) == {"test/deep/b.png": "test", "train/a.png": "train"}
    lay(tmp_path, "c.png")
    assert set(splits(tmp_path).values()) == {None}
    assert len(splits(tmp_path)) == 3


@pytest.mark.parametrize(
    ("names", "where"),
    [
        (["face0.png", "face1.png"], "in no folder of a class"),
        (["cat/0.png", "cat/1.png"], "in cat alone"),
        (["train/images/0.png", "valid/images/1.png"], "in train/images, valid/images alone"),
    ],
)
def test_a_folder_without_labels_is_asked_about(names: list[str], where: str, tmp_path: Path) -> None:
    lay(tmp_path, *names)
    (tmp_path / "README.txt").write_text("Faces of ours.")
    answer = unlabeled.recognise(scan(tmp_path))
    assert answer is not None
    assert f"2 images {where}" in answer.reason
    assert "two or more" in answer.reason


@pytest.mark.parametrize("more", ["labels.csv", "dog/1.png", "images/1.png"])
def test_what_may_hold_labels_is_not_taken_for_unlabeled(more: str, tmp_path: Path) -> None:
    lay(tmp_path, "cat/0.png")
    if more == "images/1.png":
        lay(tmp_path, "masks/1.png")
    if more.endswith(".csv"):
        (tmp_path / more).write_text("a,b\n")
    else:
        lay(tmp_path, more)
    assert unlabeled.recognise(scan(tmp_path)) is None
