"""IDX files: what is read, and that a damaged or half-fetched file is named instead of used."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.prepare.formats.idx import read
from pipeline.sample import Classes, Fault, Sample


def idx(array: np.ndarray, magic: int | None = None) -> bytes:
    first = 0x800 + array.ndim if magic is None else magic
    return struct.pack(f">{1 + array.ndim}I", first, *array.shape) + array.astype(np.uint8).tobytes()


def lay(root: Path, part: str = "train", count: int = 4, *, packed: bool = False) -> None:
    images = np.arange(count * 6).reshape(count, 2, 3)
    for name, array in (("images-idx3", images), ("labels-idx1", np.arange(count) % 10)):
        data = idx(array)
        (root / f"{part}-{name}-ubyte{'.gz' if packed else ''}").write_bytes(gzip.compress(data) if packed else data)


def listing(root: Path, classes: list[str] | None = None) -> tuple[Classes, list[Sample], dict[str, str]]:
    found, *items = read(root, classes=classes)
    assert isinstance(found, Classes)
    faults = {item.where: item.reason for item in items if isinstance(item, Fault) and not item.warning}
    return found, [item for item in items if isinstance(item, Sample)], faults


@pytest.mark.parametrize("packed", [False, True])
def test_train_and_t10k(tmp_path: Path, packed: bool) -> None:
    lay(tmp_path, "train", 4, packed=packed)
    lay(tmp_path, "t10k", 2, packed=packed)
    classes, samples, faults = listing(tmp_path)
    assert (classes.names, faults) == (tuple("0123456789"), {})
    assert [(sample.id, sample.split, sample.label) for sample in samples] == [
        ("t10k/00000", "test", 0),
        ("t10k/00001", "test", 1),
        *((f"train/0000{number}", "train", number) for number in range(4)),
    ]
    np.testing.assert_array_equal(samples[3].pixels[..., 1], [[6, 7, 8], [9, 10, 11]])
    assert samples[3].pixels.shape == (2, 3, 3)


def test_an_unpacked_file_wins_over_its_packed_twin(tmp_path: Path) -> None:
    lay(tmp_path, "train", 4)
    lay(tmp_path, "train", 3, packed=True)
    lay(tmp_path, "emnist-letters-test", 2)
    _, samples, faults = listing(tmp_path)
    assert faults == {}
    assert [sample.split for sample in samples] == ["test"] * 2 + ["train"] * 4
    assert any("2 other files" in item.reason for item in read(tmp_path) if isinstance(item, Fault))


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
BROKEN = {
    "cut": (f"{LABELS}.gz", lambda data: gzip.compress(data)[:-6], "is truncated"),
    "no gzip": (f"{LABELS}.gz", lambda data: b"<html>" + data, "can't be unpacked"),
    "checksum": (f"{LABELS}.gz", lambda data: gzip.compress(data)[:-8] + bytes(8), "can't be unpacked"),
    "short": (LABELS, lambda data: data[:-1], "says 4 bytes, but 3 follow"),
    "long": (LABELS, lambda data: data + b"x", "says 4 bytes, but more follow"),
    "magic": (LABELS, lambda _: idx(np.arange(4), 0x803), "starts with 0x00000803, not 0x00000801"),
    "header": (LABELS, lambda data: data[:5], "within its header"),
    "vast": (IMAGES, lambda _: struct.pack(">4I", 0x803, 2**31, 2**20, 28), "more than 4,000,000,000 bytes"),
    "counts": (LABELS, lambda _: idx(np.arange(3)), "3 labels for 4 images"),
    "label": (LABELS, lambda _: idx(np.array([0, 1, 10, 12])), "label 10, 12 beyond the 10 classes"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_named_and_not_used(tmp_path: Path, case: str) -> None:
    name, spoil, reason = BROKEN[case]
    lay(tmp_path, "train", 4)
    good = tmp_path / name.removesuffix(".gz")
    data = spoil(good.read_bytes())
    good.unlink()
    (tmp_path / name).write_bytes(data)
    _, samples, faults = listing(tmp_path)
    assert samples == []
    assert list(faults) == [name]
    assert reason in faults[name]


def test_a_lone_file_and_an_empty_folder(tmp_path: Path) -> None:
    assert "train-images-idx3-ubyte" in listing(tmp_path)[2]["."]
    lay(tmp_path)
    (tmp_path / LABELS).unlink()
    assert "its labels are missing" in listing(tmp_path)[2][IMAGES]


def test_classes(tmp_path: Path) -> None:
    lay(tmp_path, count=2)
    assert listing(tmp_path, ["shirt", "bag"])[0].names == ("shirt", "bag")
    assert "beyond the 1 classes" in listing(tmp_path, ["shirt"])[2][LABELS]
    for wrong in ("shirt", [], ["a", "a"], [1, 2]):
        with pytest.raises(UserError, match="option classes"):
            list(read(tmp_path, classes=wrong))  # type: ignore[arg-type]
