"""Image files are found by what annotations call them, and nothing is guessed where two could be meant."""

import unicodedata
from pathlib import Path, PurePosixPath

import pytest

from pipeline.prepare.formats.parts.files import Tree, alike
from pipeline.prepare.formats.parts.finder import Finder


def tree(*names: str) -> Tree:
    """A tree of these files, with their folders; nothing is read."""
    files = sorted(map(PurePosixPath, names))
    folders = sorted({folder for name in files for folder in name.parents if folder.name})
    return Tree(Path("/nowhere"), files, folders)


def finder(*names: str, folder: str | None = None, option: str | None = None) -> Finder:
    return Finder(tree(*names), None if folder is None else PurePosixPath(folder), option)


def find(text: str, *names: str, near: str | None = None, folder: str | None = None) -> tuple[str, str]:
    """The file, and what is said of a guess."""
    search = finder(*names, folder=folder)
    file = search.find(text, None if near is None else PurePosixPath(near))
    return str(file), "; ".join(fault.reason for fault in search.warnings())


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("a.png", "a.png"),
        ("images/a.png", "images/a.png"),
        ("./images/a.png", "images/a.png"),
        ("images\\a.png", "images/a.png"),
        ("deep/b.png", "images/deep/b.png"),
        ("images/x/../a.png", "images/a.png"),
        ("odd\\name%20.png", "odd\\name%20.png"),
        ("images/c", "images/c.JPG"),
    ],
)
def test_what_is_named_plainly_is_no_guess(text: str, file: str) -> None:
    files = ("a.png", "images/a.png", "images/c.JPG", "images/deep/b.png", "odd\\name%20.png", "odd/name .png")
    assert find(text, *files) == (file, "")


@pytest.mark.parametrize(
    ("text", "file", "how"),
    [
        ("C:\\Users\\me\\data\\imgs\\a.png", "imgs/a.png", "ends"),
        ("\\\\server\\share\\imgs\\a.png", "imgs/a.png", "ends"),
        ("/home/me/pictures/a.png", "imgs/a.png", "ends"),
        ("../label/a.png", "imgs/a.png", "ends"),
        ("/imgs/a.png", "imgs/a.png", "ends"),
        ("export/a.png", "imgs/a.png", "ends"),
        ("imgs/my%20cat.png", "imgs/my cat.png", "addresses"),
        ("/data/local-files/?d=imgs/a.png", "imgs/a.png", "addresses"),
        ("data/local-files/?d=home%5Cimgs%5Ca.png", "imgs/a.png", "addresses"),
        ("https://host/data/my%20cat.png?token=1", "imgs/my cat.png", "addresses"),
        ("s3://bucket/imgs/a.png", "imgs/a.png", "addresses"),
        ("IMGS/A.PNG", "imgs/a.png", "case"),
        ("imgs/cafe\u0301.png", "imgs/caf\u00e9.png", "accents"),
        ("imgs/a.png.png", "imgs/a.png", "suffix"),
        ("imgs/b.jpg", "imgs/b.jpg.jpg", "suffix"),
        ("d:/x/A", "imgs/a.png", "ends"),
    ],
)
def test_a_guess_is_reported(text: str, file: str, how: str) -> None:
    said = find(text, "imgs/a.png", "imgs/my cat.png", "imgs/caf\u00e9.png", "imgs/b.jpg.jpg")
    assert said[0] == file
    assert how in said[1]
    assert "1 name" in said[1]
    assert file in said[1]


def test_equal_guesses_are_reported_once_with_their_number() -> None:
    search = finder(*(f"imgs/{number}.png" for number in range(36)))
    for number in range(36):
        search.find(f"/home/me/imgs/{number}.png")
    (warning,) = search.warnings()
    assert warning.warning
    assert "36 names" in warning.reason


def test_what_no_one_asked_for_is_left() -> None:
    search = finder("a.png", "b.png", "c/d.png", "labels.csv", folder="c")
    search.find("d.png")
    assert search.unused == {PurePosixPath("a.png"), PurePosixPath("b.png")}


@pytest.mark.parametrize(
    ("text", "files", "told"),
    [
        ("a.png", ("one/a.png", "two/a.png"), ("one/a.png", "two/a.png")),
        ("/x/a.png", ("one/a.png", "two/a.png"), ("one/a.png", "two/a.png")),
        ("A.png", ("one/a.png", "two/a.png"), ("one/a.png", "two/a.png")),
        ("a", ("images/a.jpg", "masks/a.png"), ("images/a.jpg", "masks/a.png")),
        ("img_10.png", ("img_1O.png", "other.png"), ("img_1O.png",)),
        ("a.png", ("a.txt",), ("no image file",)),
        ("a.jpg", ("masks/a.png", "images/b.jpg"), ("no image file",)),
        ("", ("a.png",), ("no image file",)),
        ("..", ("a.png",), ("no image file",)),
        ("images", ("images/a.png",), ("no image file",)),
        ("../../etc/passwd", ("a.png",), ("no image file",)),
    ],
)
def test_doubt_is_refused(text: str, files: tuple[str, ...], told: tuple[str, ...]) -> None:
    search = finder(*files, option="images")
    with pytest.raises(ValueError, match="option `images`") as error:
        search.find(text)
    assert all(word in str(error.value) for word in told)
    assert not list(search.warnings())


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("cats/5.png", ("dogs/5.png", "cats/1.png")),
        ("/home/me/cats/5.png", ("dogs/5.png", "cats/1.png")),
        ("/home/me/train/5.png", ("val/5.png", "training/1.png")),
    ],
)
def test_a_name_that_contradicts_the_folder_is_not_guessed(text: str, files: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"no image file.*nearest is \w+/5\.png"):
        finder(*files).find(text)


def test_a_folder_below_the_one_that_is_named_is_no_contradiction() -> None:
    assert find("/x/images/5.png", "images/train/5.png", "images/train/6.png")[0] == "images/train/5.png"


@pytest.mark.parametrize(
    ("near", "file"),
    [
        ("annotations/instances_train2017.json", "train2017/a.png"),
        ("annotations/instances_val2017.json", "val2017/a.png"),
        ("extra/all.json", "extra/a.png"),
    ],
)
def test_the_annotation_file_decides_between_equal_names(near: str, file: str) -> None:
    files = ("train2017/a.png", "val2017/a.png", "extra/a.png", "train-small/a.png")
    assert find("a.png", *files, near=near) == (file, "")


def test_an_image_of_another_split_is_not_taken_for_one_that_is_missing() -> None:
    with pytest.raises(ValueError, match=r"nearest is val/a\.png"):
        find("a.png", "val/a.png", "train/b.png", near="train.json")
    assert find("a.png", "val/a.png", near="train.json")[0] == "val/a.png", "there is no folder of this split"
    assert find("val/a.png", "x/val/a.png", "train/b.png", near="train.json")[0] == "x/val/a.png", "the name says val"


@pytest.mark.parametrize(
    ("folder", "text", "file"),
    [
        ("two", "a.png", "two/a.png"),
        ("two", "/home/me/a.png", "two/a.png"),
        (".", "a.png", "a.png"),
        ("*/images", "b.png", "x/images/b.png"),
        ("set[1]", "a.png", "set[1]/a.png"),
    ],
)
def test_a_folder_or_a_pattern_of_folders(folder: str, text: str, file: str) -> None:
    files = ("a.png", "one/a.png", "two/a.png", "x/images/b.png", "y/images/c.png", "b.png", "set[1]/a.png")
    assert find(text, *files, folder=folder)[0] == file


def test_files_outside_the_folder_are_not_found() -> None:
    with pytest.raises(ValueError, match="no image file"):
        find("b.png", "one/a.png", "two/b.png", folder="one")
    with pytest.raises(ValueError, match=r"could be x/i/a\.png or y/i/a\.png"):
        find("a.png", "x/i/a.png", "y/i/a.png", folder="*/i")
    with pytest.raises(ValueError, match=r"'three' is no folder.*one, two"):
        finder("one/a.png", "two/b.png", folder="three")


def test_many_images_of_one_name_are_found_by_their_folders() -> None:
    """Not in a time that grows with the square of their number: each end is looked up once."""
    number = 5_000
    search = finder(*(f"cases/{case}/scan.png" for case in range(number)))
    for case in range(number):
        assert search.find(f"/home/me/{case}/Scan.png") == PurePosixPath(f"cases/{case}/scan.png")
    assert not search.unused
    for _ in range(number):
        with pytest.raises(ValueError, match="could be"):
            search.find("/home/me/scan.png")


def test_names_that_differ_by_the_encoding_of_accents_are_alike() -> None:
    """The test above would pass without a fold if both spellings were one."""
    spellings = {unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD")}
    assert len(spellings) == 2
    assert len(set(map(alike, spellings))) == 1
