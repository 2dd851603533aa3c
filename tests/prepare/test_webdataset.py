"""Shards of images are read as they are: what is in them, whatever packs them, and no harm from those that are made."""

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import UserError
from pipeline.params import Dataset, Params
from pipeline.prepare.formats import webdataset
from pipeline.prepare.formats.parts.files import scan
from pipeline.prepare.stage import run
from pipeline.sample import SPLITS, Classes, Fault, Sample, facts
from pipeline.shards import split

FORMS = ["tar", "tar.gz", "zip"]


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def pack(path: Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def labelled(numbers: range, names: str = "cat dog") -> dict[str, bytes]:
    files = {}
    for number in numbers:
        files[f"{number:04d}.jpg"] = picture(number)
        files[f"{number:04d}.cls"] = names.split()[number % 2].encode()
    return files


def listed(folder: Path, **options: Any) -> tuple[Classes, list[Sample], list[Fault]]:
    classes, *items = webdataset.read(folder, **options)
    assert isinstance(classes, Classes)
    samples = [item for item in items if isinstance(item, Sample)]
    return classes, samples, [item for item in items if isinstance(item, Fault)]


@pytest.mark.parametrize("form", FORMS)
def test_shards_are_prepared_with_the_bytes_that_came(form: str, tmp_path: Path) -> None:
    raw = tmp_path / "data/raw/mine"
    for at, name in enumerate(SPLITS):
        pack(raw / f"{name}-{at:03d}.{form}", labelled(range(20 * at, 20 * at + 20)))
    assert webdataset.recognise(scan(raw)) == {}
    run(Params(datasets={"mine": Dataset(format="webdataset", path="data/raw/mine")}, jobs={}), tmp_path)
    prepared = tmp_path / "data/prepared/mine"
    assert facts(prepared).counts == dict.fromkeys(SPLITS, 20)
    assert facts(prepared).classes == ("cat", "dog")
    stored = split(prepared, "val")
    assert stored.column("image") == [picture(number) for number in range(20, 40)]
    assert stored.column("label") == [0, 1] * 10
    assert stored[3].source == f"data/raw/mine/val-001.{form}/0023.jpg"


def test_numbers_are_classes_by_their_order_or_by_the_names_given(tmp_path: Path) -> None:
    pack(tmp_path / "a.tar", labelled(range(4), "10 9"))
    classes, samples, _ = listed(tmp_path)
    assert classes.names == ("9", "10")
    assert [sample.label for sample in samples] == [1, 0, 1, 0]
    names = [f"name {number}" for number in range(10)]
    classes, samples, faults = listed(tmp_path, classes=names)
    assert classes.names == tuple(names)
    assert [sample.label for sample in samples] == [9, 9]
    assert ["label '10'" in str(fault) for fault in faults] == [True, True]
    with pytest.raises(UserError, match="classes"):
        listed(tmp_path, classes="cat")


@pytest.mark.parametrize("form", FORMS)
def test_folders_in_an_archive_are_classes_and_splits(form: str, tmp_path: Path) -> None:
    files = {
        f"{part}/{name}/{number}.jpg": picture(number)
        for part in ("train", "test")
        for name in "ab"
        for number in (1, 2)
    }
    pack(tmp_path / f"all.{form}", {"README.md": b"hello", "__MACOSX/train/a/._1.jpg": b"no", **files})
    assert webdataset.recognise(scan(tmp_path)) == {}
    classes, samples, faults = listed(tmp_path)
    assert faults == []
    assert classes.names == ("a", "b")
    assert [(sample.split, sample.label) for sample in samples] == [
        (part, label) for part in ("train", "test") for label in (0, 0, 1, 1)
    ]


def test_an_image_without_a_label_is_a_fault(tmp_path: Path) -> None:
    pack(tmp_path / "a.tar", {**labelled(range(2)), "0009.jpg": picture(9)})
    _, samples, (fault,) = listed(tmp_path)
    assert len(samples) == 2
    assert "a.tar/0009.jpg" in str(fault)
    assert "0009.cls" in str(fault)
    assert webdataset.recognise(scan(tmp_path)) is None


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_archive_is_a_fault_of_the_whole(form: str, tmp_path: Path) -> None:
    pack(tmp_path / f"good.{form}", labelled(range(2)))
    pack(tmp_path / f"torn.{form}", labelled(range(2, 12)))
    torn = tmp_path / f"torn.{form}"
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    _, samples, faults = listed(tmp_path)
    assert len(samples) >= 2
    assert any(f"torn.{form}" in str(fault) and fault.blocks for fault in faults)


def test_members_that_are_no_files_or_too_large_are_not_read(tmp_path: Path) -> None:
    pack(tmp_path / "a.tar", labelled(range(2)))
    with tarfile.open(tmp_path / "a.tar", "a") as archive:
        link = tarfile.TarInfo("secret.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        label = tarfile.TarInfo("0009.cls")
        label.size = 2_000_000
        archive.addfile(label, io.BytesIO(b"x" * label.size))
    _, _, faults = listed(tmp_path)
    assert any("0009.cls" in str(fault) and fault.blocks for fault in faults)


def test_archives_of_other_formats_are_not_taken(tmp_path: Path) -> None:
    pack(tmp_path / "boxes/a.zip", {"images/1.jpg": picture(1), "annotations/1.xml": b"<annotation/>"})
    pack(tmp_path / "beside/a.zip", labelled(range(2)))
    (tmp_path / "beside/1.jpg").write_bytes(picture(1))
    for name in ("boxes", "beside"):
        assert webdataset.recognise(scan(tmp_path / name)) is None
