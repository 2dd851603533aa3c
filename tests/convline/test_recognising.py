"""What a folder is taken for where its format is not certain: the reason, and a way on that can be followed."""

from pathlib import Path

import pytest

from convline.recognising import no_folder, recognise
from pipeline.errors import UserError
from pipeline.prepare.formats.parts.files import scan
from tests.helpers import folders


def answer(source: Path, wanted: str | None = None) -> str:
    """The format that reads a folder, or why none does."""
    try:
        return recognise(source, scan(source), wanted)[0]
    except UserError as error:
        return str(error)


def test_a_doubt_is_reported_alone_and_overruled_by_naming_the_format(tmp_path: Path) -> None:
    for name in ("trainA", "trainB"):
        folders.picture(tmp_path / name / "1.png", len(name))
    text = answer(tmp_path)
    assert len(text.splitlines()) == 2
    assert "trainA, trainB" in text
    assert "--format image_folder" in text
    assert answer(tmp_path, "image_folder") == "image_folder"


def test_a_certain_format_outweighs_a_doubt(tmp_path: Path) -> None:
    """Images and labels in two folders look like classes, but yolo reads them."""
    folders.yolo(tmp_path)
    assert answer(tmp_path) == "yolo"


@pytest.mark.parametrize(("suffix", "kind"), [(".HEIC", "HEIC"), (".heif", "HEIC"), ("", "JPEG"), (".cr2", "raw")])
def test_images_that_are_not_read_are_named_and_not_the_formats(suffix: str, kind: str, tmp_path: Path) -> None:
    data = b"\xff\xd8\xff\xe0" if kind == "JPEG" else b"\0\0\0\x18ftypheic"
    for number in range(4):
        for name in ("cat", "dog"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"IMG_{number}{suffix}").write_bytes(data + bytes(40))
    text = answer(tmp_path)
    assert len(text.splitlines()) == 1
    assert f"8 images, cat/IMG_0{suffix}" in text
    assert kind in text


def test_an_inner_folder_is_named_only_where_it_can_be_added(tmp_path: Path) -> None:
    folders.image_folder(tmp_path / "archive/pets")
    for name in ("trainA", "trainB"):
        folders.picture(tmp_path / "archive/domains" / name / "1.png", len(name))
    text = answer(tmp_path / "archive")
    assert f"convline add {tmp_path}/archive/pets" in text
    assert f"convline add {tmp_path}/archive/domains" not in text
    assert "pets hold splits" in text


@pytest.mark.parametrize("name", ["pets.zip", "pets.tar.gz", "pets.7z"])
def test_an_archive_is_to_be_unpacked_into_its_own_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert f"such as {tmp_path}/pets, " in no_folder(tmp_path / name)
