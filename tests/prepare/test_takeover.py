"""An image that an earlier run measured is not decoded again, and the result is that of a whole run."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline import images, processes, store
from pipeline.errors import UserError
from pipeline.params import Dataset, Params
from pipeline.prepare import entries, measured, traits
from pipeline.prepare.measured import SIZE, Measured, Records
from pipeline.prepare.stage import UNFINISHED, run
from pipeline.sample import SPLITS
from pipeline.shards import split
from tests.helpers.small_data import DATA

JPEGS = 30
DATASET = Dataset(format="image_folder", path="data/raw/mine")


def write(root: Path, numbers: range) -> None:
    for number in numbers:
        path = root / f"data/raw/mine/{'ab'[number % 2]}/{number:03d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)


def prepare(root: Path, **settings: Any) -> Path:
    dataset = DATASET.model_copy(update=settings)
    run(Params(datasets={"mine": dataset}, jobs={}), root)
    return root / "data/prepared/mine"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bytes that were decoded."""
    seen, open_bytes = list[bytes](), images.open_bytes

    def decode(data: bytes, reading: images.Reading) -> tuple[Image.Image, bool]:
        seen.append(data)
        return open_bytes(data, reading)

    monkeypatch.setattr(images, "open_bytes", decode)
    return seen


@pytest.mark.parametrize("max_side", [None, 16])
def test_new_images_alone_are_decoded_and_the_result_is_that_of_a_whole_run(
    tmp_path: Path, decoded: list[bytes], max_side: int | None
) -> None:
    grown, whole = tmp_path / "grown", tmp_path / "whole"
    write(grown, range(JPEGS))
    prepare(grown, max_side=max_side)
    assert len(decoded) == JPEGS
    write(grown, range(JPEGS, JPEGS + 2))
    shutil.copy(grown / "data/raw/mine/a/004.jpg", grown / "data/raw/mine/a/moved.jpg")
    (grown / "data/raw/mine/a/004.jpg").unlink()
    del decoded[:]
    result = prepare(grown, max_side=max_side)
    assert len(decoded) == (2 if max_side is None else JPEGS + 2)  # what is scaled is decoded each time
    shutil.copytree(grown / "data/raw", whole / "data/raw")
    assert store.content_digest(prepare(whole, max_side=max_side)) == store.content_digest(result)


def test_a_digest_stays_where_the_decoder_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under another version of Pillow: the pixels are others, and no image moves to another split."""
    write(tmp_path, range(JPEGS))
    before = {name: split(prepare(tmp_path), name).column("id") for name in SPLITS}
    monkeypatch.setattr(traits, "pixel_digest", lambda image: f"{sum(image.tobytes()):064x}")
    write(tmp_path, range(JPEGS, JPEGS + 1))
    after = {name: split(prepare(tmp_path), name).column("id") for name in SPLITS}
    assert all(set(before[name]) <= set(after[name]) for name in SPLITS)


def test_a_run_that_ended_early_is_gone_on_with(
    tmp_path: Path, decoded: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, range(JPEGS))
    monkeypatch.setattr(entries, "CHUNK_ITEMS", 5)
    open_bytes = images.open_bytes

    def end_early(data: bytes, reading: images.Reading) -> tuple[Image.Image, bool]:
        if len(decoded) == 12:
            raise KeyboardInterrupt
        return open_bytes(data, reading)

    monkeypatch.setattr(images, "open_bytes", end_early)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path)
    monkeypatch.setattr(images, "open_bytes", open_bytes)
    (journal,) = (tmp_path / UNFINISHED / "mine").iterdir()
    assert journal.stat().st_size == 10 * SIZE
    with journal.open("ab") as file:
        file.write(b"torn")  # as by a kill in the middle of a write
    del decoded[:]
    result = prepare(tmp_path)
    assert len(decoded) == JPEGS - 10
    assert not (tmp_path / UNFINISHED / "mine").exists()
    shutil.copytree(tmp_path / "data/raw", tmp_path / "whole/data/raw")
    assert store.content_digest(prepare(tmp_path / "whole")) == store.content_digest(result)


def test_faults_lose_nothing_that_was_measured(tmp_path: Path, decoded: list[bytes]) -> None:
    write(tmp_path, range(JPEGS))
    torn = tmp_path / "data/raw/mine/a/torn.jpg"
    torn.write_bytes(b"torn")
    with pytest.raises(UserError, match=r"torn\.jpg"):
        prepare(tmp_path)
    torn.unlink()
    del decoded[:]
    prepare(tmp_path)
    assert decoded == []


def test_a_damaged_record_is_not_used(tmp_path: Path, decoded: list[bytes]) -> None:
    write(tmp_path, range(JPEGS))
    file = prepare(tmp_path) / measured.file_name(DATASET)
    whole = file.read_bytes()
    for position in (40, SIZE + 80):  # in digests of two images
        data = bytearray(file.read_bytes())
        data[position] ^= 1
        file.write_bytes(data)
    del decoded[:]
    result = prepare(tmp_path, seed=1)
    assert len(decoded) == 2
    assert (result / measured.file_name(DATASET)).read_bytes() == whole


def test_one_process_and_several_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for name, number, chunk in (("one", 1, 64), ("two", 2, 7)):
        monkeypatch.setattr(processes, "cores", lambda number=number: number)
        monkeypatch.setattr(processes, "ALONE_S", 0.0)
        monkeypatch.setattr(entries, "CHUNK_ITEMS", chunk)
        shutil.copytree(DATA / "coco", tmp_path / name / "coco")
        dataset = Dataset(format="coco", path="coco")
        run(Params(datasets={"mine": dataset}, jobs={}), tmp_path / name)
        digests.add(store.content_digest(tmp_path / name / "data/prepared/mine"))
    assert len(digests) == 1


def record(number: int, look: bytes | None = b"0123456789abcdef") -> bytes:
    digest = f"{number:064x}"
    image = Measured(bytes([number]) * 32, True, 20, 30, traits.Traits(digest, look, tuple(range(number, number + 9))))
    assert measured.unpack(measured.pack(image)) == image
    return measured.pack(image)


def test_records_are_sorted_and_each_is_there_once(tmp_path: Path) -> None:
    without_file = record(0)
    (tmp_path / "a").write_bytes(measured.merge([record(7) + record(255), without_file, record(1, None) + record(7)]))
    records = Records(tmp_path / "a")
    assert [records.record(index) for index in range(len(records))] == [record(1, None), record(7), record(255)]
    assert [records.find(bytes([number]) * 32) is not None for number in (0, 1, 2, 7, 255)] == [
        False,
        True,
        False,
        True,
        True,
    ]
    assert len(Records()) == 0
    assert Records().find(b"x" * 32) is None


@pytest.mark.parametrize("name", ["yolo", "coco", "voc", "masks"])
def test_formats_that_need_sizes_take_deep_images_and_pages(name: str, tmp_path: Path) -> None:
    """All images of a small set of each format as TIFF of 16 bits and two pages, under their names."""
    source = tmp_path / "data/raw/mine"
    shutil.copytree(DATA / name, source)
    for path in [*source.rglob("*.jpg"), *source.rglob("*-*[0-9].png")]:
        with Image.open(path) as image:
            deep = Image.fromarray(np.asarray(ImageOps.exif_transpose(image).convert("L"), np.uint16) * 16)
        deep.save(path, "TIFF", save_all=True, append_images=[deep])
    format = {"masks": "mask_png"}.get(name, name)
    made = prepare(tmp_path, format=format, bits=12, first_page=True)
    whole = {sample.id: sample for at in SPLITS for sample in split(made, at)}
    assert len(whole) == len(list((DATA / name).rglob("*.jpg"))) + len(list((DATA / name).rglob("*-*[0-9].png")))
    assert all(sample.pixels.max() > 100 for sample in whole.values())
    with pytest.raises(UserError, match=r"8 bits.*`bits: 16`"):
        prepare(tmp_path, format=format)
