"""prepare as a whole: the same folder from the same data, every fault in one telling, nothing half-done."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline import images, store
from pipeline.errors import UserError
from pipeline.params import Dataset, Params
from pipeline.prepare import make as making
from pipeline.prepare.findings import Findings
from pipeline.prepare.stage import run
from pipeline.sample import SPLITS, Facts, Fault, facts
from pipeline.shards import split
from pipeline.store import verify


def prepare(root: Path, **datasets: dict[str, Any]) -> None:
    read = {name: Dataset(**settings) for name, settings in datasets.items()}
    run(Params(datasets=read, jobs={}), root)


def noise(seed: int, height: int = 8, width: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(root: Path, name: str, pixels: NDArray[np.uint8]) -> None:
    path = root / "data" / "raw" / "mine" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def photographs(root: Path, numbers: range) -> None:
    for number in numbers:
        save(root, f"{'ab'[number % 2]}/{number:03d}.png", noise(number))


def mine(**settings: Any) -> dict[str, Any]:
    return {"format": "image_folder", "path": "data/raw/mine", **settings}


def prepared(root: Path, name: str = "mine") -> Path:
    return root / "data" / "prepared" / name


def ids(path: Path) -> dict[str, list[str]]:
    return {name: split(path, name).column("id") for name in SPLITS}


def test_starts_without_torch() -> None:
    code = "import sys, pipeline.prepare.stage; sys.exit('torch' in sys.modules or 'sklearn' in sys.modules)"
    root = Path(making.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0


def test_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(tmp_path, digits={"format": "digits"})
    path = prepared(tmp_path, "digits")
    known = facts(path)
    assert sum(known.counts.values()) == 1797
    assert sum(known.class_counts) == known.counts["train"] == len(split(path, "train"))
    assert (known.classes, known.fields) == (tuple("0123456789"), ("label",))
    assert capsys.readouterr().out.startswith(f"digits: made, 1,797 images (train {known.counts['train']:,}, val ")
    pixels = np.stack([sample.pixels for sample in split(path, "train")]) / 255
    np.testing.assert_allclose(known.mean["3"], pixels.mean((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose(known.std["3"], pixels.std((0, 1, 2)), rtol=1e-9)
    np.testing.assert_allclose([*known.mean["1"], *known.std["1"]], [known.mean["3"][0], known.std["3"][0]])
    assert max(int(sample.pixels.max()) for sample in split(path, "val")) == 255
    verify(path)


def test_content_depends_on_the_fingerprint_alone(tmp_path: Path) -> None:
    digests = set()
    for root, name in ((tmp_path / "one", "mine"), (tmp_path / "two", "other")):
        photographs(root, range(40))
        prepare(root, **{name: mine()})
        digests.add(store.content_digest(prepared(root, name)))
    assert len(digests) == 1


def test_second_run_keeps_and_old_settings_come_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs(tmp_path, range(40))
    for seed in (0, 0, 1, 0):
        prepare(tmp_path, mine=mine(seed=seed))
    assert [line.split(", ")[0] for line in capsys.readouterr().out.splitlines()] == [
        "mine: made",
        "mine: kept",
        "mine: made",
        "mine: restored",
    ]
    prepare(tmp_path, digits={"format": "digits"})
    assert [path.name for path in prepared(tmp_path, "").iterdir()] == ["digits"]


def test_growing_data_moves_no_image(tmp_path: Path) -> None:
    photographs(tmp_path, range(50))
    prepare(tmp_path, mine=mine())
    before = ids(prepared(tmp_path))
    photographs(tmp_path, range(60))
    prepare(tmp_path, mine=mine())
    after = ids(prepared(tmp_path))
    assert sum(map(len, after.values())) == 60
    for name in SPLITS:
        assert set(before[name]) <= set(after[name])


def test_copies_and_groups_stay_together(tmp_path: Path) -> None:
    for number in range(60):
        save(tmp_path, f"{'ab'[number % 2]}/p{number // 6}_{number}.png", noise(number))
    for number in range(20):
        save(tmp_path, f"a/q{number}_0.bmp", noise(number + 100))
        save(tmp_path, f"a/q{number}_1.png", noise(number + 100))
    prepare(tmp_path, mine=mine(), grouped=mine(options={"group": r"/(\w+)_\d+\."}))
    assert all(len(held & other) == 0 for held, other in _group_pairs(prepared(tmp_path)))
    assert sum(len(names) for names in ids(prepared(tmp_path)).values()) == 100
    assert all(len(held & other) == 0 for held, other in _group_pairs(prepared(tmp_path, "grouped")))
    assert set(split(prepared(tmp_path, "grouped"), "train").column("group")) <= {
        *(f"p{number}" for number in range(10)),
        *(f"q{number}" for number in range(20)),
    }


def _group_pairs(path: Path) -> list[tuple[set[str], set[str]]]:
    groups = [set(split(path, name).column("group")) for name in SPLITS]
    return [(groups[0], groups[1]), (groups[0], groups[2]), (groups[1], groups[2])]


def test_missing_val_comes_out_of_train(tmp_path: Path) -> None:
    for number in range(40):
        save(tmp_path, f"{'train' if number < 30 else 'test'}/a/{number}.png", noise(number))
    prepare(tmp_path, mine=mine())
    found = ids(prepared(tmp_path))
    assert len(found["test"]) == 10
    assert all(name.startswith("test/") for name in found["test"])
    assert found["val"]
    assert all(name.startswith("train/") for name in found["val"] + found["train"])


def faulty(root: Path) -> None:
    """Three splits with: a copy and a torn group, a class unseen in train, a broken file, a foreign label."""
    for number in range(12):
        save(root, f"{SPLITS[number % 3]}/a/p{number}_{number}.png", noise(number))
    save(root, "train/a/p1_copy.png", noise(1))
    save(root, "train/a/p2_other.png", noise(50))
    save(root, "test/b/p60_0.png", noise(60))
    save(root, "train/a/p70_thin.png", noise(70, 1, 9))
    save(root, "train/c/p80_0.png", noise(0))
    save(root, "train/c/p81_0.png", noise(81))
    (root / "data/raw/mine/val/a/p90_0.jpg").write_bytes(b"<html>")


FAULTY = {"options": {"group": r"/(\w+?)_\w+\."}}


def test_all_faults_are_reported_at_once_and_nothing_changes(tmp_path: Path) -> None:
    photographs(tmp_path, range(20))
    prepare(tmp_path, mine=mine())
    before = store.content_digest(prepared(tmp_path))
    for path in (tmp_path / "data/raw/mine").rglob("*.png"):
        path.unlink()
    for folder in "ab":
        (tmp_path / "data/raw/mine" / folder).rmdir()
    faulty(tmp_path)
    with pytest.raises(UserError) as caught:
        prepare(tmp_path, mine=mine(**FAULTY), gone={"format": "image_folder", "path": "data/raw/gone"})
    message = str(caught.value)
    for expected in (
        "dataset mine: 5 faults",
        "data/raw/mine/val/a/p90_0.jpg: this looks like HTML",
        "data/raw/mine/train/a/p70_thin.png: 9×1 pixels",
        "data/raw/mine/train/a/p1_copy.png (train): same pixels as data/raw/mine/val/a/p1_1.png (val)",
        "data/raw/mine/train/a/p2_other.png (train): in one group with data/raw/mine/test/a/p2_2.png (test)",
        "class 'b': 1 image in test, such as data/raw/mine/test/b/p60_0.png, but none in train",
        "`on_bad: skip`",
        "dataset gone:",
    ):
        assert expected in message
    assert store.content_digest(prepared(tmp_path)) == before
    assert len(list((tmp_path / ".work/prepare").iterdir())) == 1
    assert [path.name for path in prepared(tmp_path, "").iterdir()] == ["mine"]


def test_on_bad_skip_leaves_out_and_records(tmp_path: Path) -> None:
    faulty(tmp_path)
    prepare(tmp_path, mine=mine(on_bad="skip", **FAULTY))
    known: Facts = facts(prepared(tmp_path))
    assert len(known.skipped) == 5
    assert known.counts == {"train": 6, "val": 4, "test": 4}
    assert known.class_counts == (4, 0, 2)
    (contradiction,) = (note for note in known.warnings if "same pixels" in note)
    assert re.search(r"\ba\b.*data/raw/mine/train/c/p80_0\.png.*\bc\b", contradiction)
    assert "class 'b': 0 train images" in known.warnings


def test_an_empty_split_can_not_be_skipped(tmp_path: Path) -> None:
    photographs(tmp_path, range(2))
    with pytest.raises(UserError, match=r"split \w+: has no image"):
        prepare(tmp_path, mine=mine(on_bad="skip"))


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    for number in range(130):
        save(tmp_path, f"a/{number}.png", noise(number, 1, number + 1))
    with pytest.raises(UserError) as caught:
        prepare(tmp_path, mine=mine())
    assert "131 faults" in str(caught.value)
    assert "… and 31 other reasons" in str(caught.value)
    assert "on_bad" not in str(caught.value)  # no image would be left


def test_equal_faults_are_reported_once_with_their_number(tmp_path: Path) -> None:
    for number in range(130):
        save(tmp_path, f"a/{number:03d}.png", noise(number, 1, 1))
    with pytest.raises(UserError) as caught:
        prepare(tmp_path, mine=mine())
    assert "a/000.png: 1×1 pixels" in str(caught.value)
    assert "and 129 more like it" in str(caught.value)
    assert "a/001.png" not in str(caught.value)


def test_a_fault_of_the_whole_dataset_can_not_be_skipped() -> None:
    findings = Findings(None)
    findings.add([Fault("names", "count from 1. Subtract one.", blocks=True), Fault("a.png", "is damaged.")])
    with pytest.raises(UserError, match="count from 1") as caught:
        findings.raise_if_bad("skip")
    assert "on_bad" not in str(caught.value)


def test_look_alikes_across_splits_are_shown(tmp_path: Path) -> None:
    waves = np.add.outer(np.sin(np.arange(64) / 5), np.cos(np.arange(64) / 7))
    picture = np.repeat(((waves + 2) * 60).astype(np.uint8)[..., None], 3, axis=2)
    for number, name in enumerate(SPLITS):
        save(tmp_path, f"{name}/a/1.png", picture + np.uint8(number))
        save(tmp_path, f"{name}/a/2.png", noise(number, 64, 64))
        save(tmp_path, f"{name}/a/3.png", noise(number + 10, 64, 64))
    prepare(tmp_path, mine=mine())
    (warning,) = facts(prepared(tmp_path)).warnings
    assert warning.startswith("look-alikes: 3 pairs in different splits look nearly alike: data/raw/mine/test/a/1.png")


def test_large_images_are_scaled_and_shards_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = images.resize(noise(0, 32, 16), 16, 8)
    monkeypatch.setattr(making, "SHARD_BYTES", int(3.5 * len(images.encode(scaled))))
    for number in range(20):
        save(tmp_path, f"train/a/{number}.png", noise(number, 32, 16))
    save(tmp_path, "test/a/0.png", noise(90, 6, 4))
    prepare(tmp_path, mine=mine(max_side=16))
    train = split(prepared(tmp_path), "train")
    assert {sample.pixels.shape for sample in train} == {(16, 8, 3)}
    assert {sample.size for sample in train} == {(32, 16)}
    assert len(train.paths) == -(-len(train) // 3)
    assert split(prepared(tmp_path), "test")[0].pixels.shape == (6, 4, 3)


def test_deep_images_and_several_pages_are_read_as_the_data_set_says(tmp_path: Path) -> None:
    for number in range(20):
        save(tmp_path, f"{SPLITS[number % 3]}/a/{number}.png", noise(number))
    folder = tmp_path / "data/raw/mine/train/a"
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8) * 65
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(noise(50)).save(folder / "pages.tif", save_all=True, append_images=[Image.fromarray(noise(51))])
    with pytest.raises(UserError) as caught:
        prepare(tmp_path, mine=mine())
    assert "`bits: 16`" in str(caught.value)
    assert "`first_page: true`" in str(caught.value)
    prepare(tmp_path, mine=mine(bits=12, first_page=True))
    read = {item.id: item.pixels for item in split(prepared(tmp_path), "train")}
    np.testing.assert_array_equal(read["train/a/deep.png"][..., 0], np.rint(deep * (255 / 4095)))
    np.testing.assert_array_equal(read["train/a/pages.tif"], noise(50))


def digest(pixels: NDArray[np.uint8]) -> str:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def test_the_bytes_that_came_are_stored_unless_they_cannot_be(tmp_path: Path) -> None:
    """Also of an image that earlier versions scaled; and wherever it goes, its digest and so its split stay."""
    for number in range(20):
        save(tmp_path, f"train/a/{number}.jpg", noise(number))
    save(tmp_path, "test/a/large.jpg", noise(90, 1100, 30))
    raw = tmp_path / "data/raw/mine"
    Image.fromarray(noise(91)).convert("CMYK").save(raw / "train/a/cmyk.jpg")
    Image.fromarray(noise(92)).convert("RGBA").save(raw / "train/a/clear.png")
    prepare(tmp_path, mine=mine())
    changed = {"train/a/cmyk.jpg", "train/a/clear.png"}
    for name in SPLITS:
        stored = split(prepared(tmp_path), name)
        for sample, data in zip(stored, stored.column("image"), strict=True):
            file = raw / sample.id
            np.testing.assert_array_equal(sample.pixels, images.decode(file))
            assert (data == file.read_bytes()) == (sample.id not in changed)
    (large,) = split(prepared(tmp_path), "test")
    assert large.size == (1100, 30)
    assert large.group == digest(images.resize(large.pixels, 1024, 28))
    for item in split(prepared(tmp_path), "train"):
        assert item.group == digest(item.pixels)
