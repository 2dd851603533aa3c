"""A zip or tar of any format gives what its folder gives; what could do harm in it is refused."""

import io
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from pipeline import plugins, store
from pipeline.errors import UserError
from pipeline.params import Dataset, Params
from pipeline.prepare import unpacking
from pipeline.prepare.stage import run
from tests.helpers.small_data import DATA

FORMATS = {"image_folder": "classes", "coco": "coco", "csv": "csv", "mask_png": "masks", "voc": "voc", "yolo": "yolo"}


def prepare(root: Path, format: str, path: str = "data/raw/mine", **settings: Any) -> Path:
    dataset = Dataset(format=format, path=path, **settings)
    run(Params(datasets={"mine": dataset}, jobs={}), root)
    return root / "data/prepared/mine"


def pack(folder: Path, archive: Path, inside: str = "") -> None:
    """Pack a folder, whose files lie in the folder `inside` of the archive."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as packed:
            for path in files:
                packed.write(path, f"{inside}{path.relative_to(folder)}")
        return
    with tarfile.open(archive, "w:gz" if archive.suffix == ".gz" else "w") as packed_tar:
        for path in files:
            packed_tar.add(path, f"{inside}{path.relative_to(folder)}")


@pytest.mark.parametrize("format", FORMATS)
def test_an_archive_in_a_folder_gives_the_bytes_of_its_files(format: str, tmp_path: Path) -> None:
    source = DATA / FORMATS[format]
    shutil.copytree(source, tmp_path / "loose/data/raw/mine")
    expected = store.manifest(prepare(tmp_path / "loose", format))["files"]
    for number, (name, inside) in enumerate([("x.zip", ""), ("x.tar", "pets/"), ("x.tar.gz", "a/pets/")]):
        root = tmp_path / str(number)
        pack(source, root / "data/raw/mine" / name, inside)
        assert store.manifest(prepare(root, format))["files"] == expected
        assert not [path for path in (root / ".work/prepare").iterdir() if "archive" in path.name]


def test_a_path_may_name_the_archive_and_messages_name_files_in_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(DATA / "classes", source)
    (source / "train/cat/torn.png").write_bytes(b"torn")
    pack(source, tmp_path / "data/raw/mine.zip")
    with pytest.raises(UserError, match=r"data/raw/mine\.zip/train/cat/torn\.png: not an image"):
        prepare(tmp_path, "image_folder", "data/raw/mine.zip")
    prepare(tmp_path, "image_folder", "data/raw/mine.zip", on_bad="skip")
    with pytest.raises(UserError, match=r"mine\.zip: ") as error:
        prepare(tmp_path, "mask_png", "data/raw/mine.zip")
    assert ".work" not in str(error.value)


def test_the_format_of_shards_reads_archives_itself() -> None:
    reading = {
        name for name in plugins.names("prepare.formats") if plugins.constant("prepare.formats", name, "ARCHIVES")
    }
    assert reading == {"webdataset"}


def zipped(path: Path, names: Iterable[str]) -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            packed.writestr(name, b"x")
    return path


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["/etc/out.png"], "leaves the archive"),
        (["a/" * 60 + "x.png"], "too deep"),
        (["a/x.png", "a/X.png"], "a/X.png: is there twice, also as a/x.png"),
        (["a", "a/x.png"], "file and a folder"),
        (["a/\x1b[2J.png"], "Rename it"),
    ],
)
def test_what_could_do_harm_is_refused(names: list[str], reason: str, tmp_path: Path) -> None:
    archive = zipped(tmp_path / "x.zip", names)
    with pytest.raises(UserError, match=reason), unpacking.unpacked(archive, tmp_path / "work"):
        pass
    assert not list(tmp_path.rglob("out.png"))
    assert not list((tmp_path / "work").iterdir())


def test_a_link_in_a_tar_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with tarfile.open(tmp_path / "x.tar", "w") as packed:
        link = tarfile.TarInfo("a/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        packed.addfile(link)
        packed.addfile(tarfile.TarInfo("a/x.png"), io.BytesIO())
    with unpacking.unpacked(tmp_path / "x.tar", tmp_path / "work") as folder:
        assert folder is not None
        assert [path.name for path in folder.iterdir()] == ["x.png"]


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "x.zip", ["a/x.png"])
    monkeypatch.setattr(unpacking, "SPARE_BYTES", 10**18)
    with pytest.raises(UserError, match="Make room"), unpacking.unpacked(archive, tmp_path / "work"):
        pass


def test_a_folder_with_more_than_an_archive_is_read_as_it_is(tmp_path: Path) -> None:
    zipped(tmp_path / "x.zip", ["a/x.png"])
    assert unpacking.archive_of(tmp_path) == tmp_path / "x.zip"
    (tmp_path / "notes.txt").touch()
    assert unpacking.archive_of(tmp_path) is None
