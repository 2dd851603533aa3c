"""augment stages what a policy asks for, redoes only what is stale, and leaves nothing behind."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import images, shards, store
from pipeline.augment import stage
from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.sample import Facts, Sample

LABELS = [0, 1, 1, 1, 2, 2, 1]
JOB = {"task": "classification", "architecture": "linear", "dataset": "tiny"}
TURN: dict[str, Any] = {"rotation": {"degrees": 40}}


def write(folder: Path, labels: Sequence[Any]) -> None:
    """A prepared dataset, as far as the stage reads it."""
    generator = np.random.default_rng(0)
    with store.folder(folder, "f") as path:
        pixels = generator.integers(0, 256, (len(labels), 9, 7, 3), dtype=np.uint8)
        items = [Sample(f"i{at}", pixels[at], label=label) for at, label in enumerate(labels)]
        shards.write_shard(path / "train-00000.arrow", items, rows_per_batch=3)
        counts = {"train": len(labels), "val": 0, "test": 0}
        facts = Facts("image_folder", ("zero", "one", "two"), (), counts, (1, 4, 2), ("label",), {}, {})
        store.write_json(path / "dataset.json", dataclasses.asdict(facts))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "data/prepared/tiny", LABELS)
    return tmp_path


def params(policies: dict[str, Any], **jobs: str | None) -> Params:
    """A job for every name, with the policy that is given."""
    made = {name: {**JOB, "augmentation": policy} for name, policy in jobs.items()}
    return Params.model_validate({"datasets": {"tiny": {"format": "digits"}}, "augmentation": policies, "jobs": made})


def staged(**settings: Any) -> dict[str, Any]:
    return {"p": {"staged": settings}}


def made_at(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


def test_balance_makes_classes_equal_and_leaves_no_sample_out(root: Path) -> None:
    stored = shards.split(root / "data/prepared/tiny", "train")
    for copies in (0, 2):
        index = stage.index(stored, copies, balance=True)
        everything = np.tile(LABELS, 1 + copies)
        assert np.bincount(everything[index]).tolist() == [4 * (1 + copies)] * 3
        assert set(index.tolist()) == set(range(len(everything)))
        for value in range(3):
            times = np.bincount(index[everything[index] == value], minlength=len(everything))[everything == value]
            assert times.max() - times.min() <= 1
        np.testing.assert_array_equal(stage.index(stored, copies, balance=False), np.arange(len(everything)))


def test_without_a_label_a_sample_there_is_nothing_to_balance(tmp_path: Path) -> None:
    for name, labels in (("none", [0, None, 1]), ("soft", [0, np.array([0.5, 0.5], np.float32), 1])):
        write(tmp_path / name, labels)
        index = stage.index(shards.split(tmp_path / name, "train"), 1, balance=True)
        np.testing.assert_array_equal(index, np.arange(6))


def test_what_is_staged(root: Path) -> None:
    stage.run(params(staged(copies=2, balance=True, transforms=[TURN]), a="p", b="p", c=None), root)
    folder = root / "data/augmented/tiny-p"
    assert names(root) == {stage.NOTE, "tiny-p"}
    store.verify(folder)
    assert {path.name for path in folder.iterdir()} == {
        "contact_sheet.png",
        "copies-00000.arrow",
        "index.npy",
        "manifest.json",
        "policy.json",
    }
    copies, originals = shards.split(folder, "copies"), shards.split(root / "data/prepared/tiny", "train")
    assert copies.column("id") == originals.column("id") * 2
    assert copies.column("label") == LABELS * 2
    pixels = [item.pixels.tobytes() for item in [*originals, *copies]]
    assert len(set(pixels)) == 21
    assert len(np.load(folder / "index.npy")) == 3 * 12
    assert store.read_json(folder / "policy.json")["staged"]["copies"] == 2
    sheet = images.decode(folder / "contact_sheet.png")
    assert sheet.shape == (6 * 182 + 4, 8 * 182 + 4, 3)
    assert not np.array_equal(sheet[4:182, 4:182], sheet[4:182, 186:364])


def test_an_online_policy_stages_no_copies(root: Path) -> None:
    stage.run(params({"p": {"online": [TURN]}}, a="p"), root)
    folder = root / "data/augmented/tiny-p"
    assert not list(folder.glob("copies*"))
    np.testing.assert_array_equal(np.load(folder / "index.npy"), np.arange(7))


def test_same_policy_same_bytes(root: Path) -> None:
    wanted = params(staged(copies=1, transforms=[TURN]), a="p")
    stage.run(wanted, root)
    first = store.manifest(root / "data/augmented/tiny-p")
    for path in (root / "data/augmented/tiny-p", root / ".work/augment"):
        for file in sorted(path.rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
    stage.run(wanted, root)
    assert store.manifest(root / "data/augmented/tiny-p") == first


def test_what_is_unchanged_is_kept_and_what_came_back_is_restored(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (params(staged(copies=copies), a="p") for copies in (0, 1))
    folder = root / "data/augmented/tiny-p"

    def how(wanted: Params) -> str:
        stage.run(wanted, root)
        return capsys.readouterr().out.split()[2].rstrip(",")

    assert how(one) == "made"
    before = made_at(folder)
    assert how(one) == "kept"
    assert made_at(folder) == before
    assert how(two) == "made"
    assert how(one) == "restored"
    write(root / "data/prepared/tiny", [*LABELS, 2])
    assert how(one) == "made"
    assert len(np.load(folder / "index.npy")) == 8


def test_editing_one_policy_redoes_one(root: Path) -> None:
    policies: dict[str, Any] = {"p": {"online": [TURN]}, "q": {"online": [{"noise": {}}]}}
    stage.run(params(policies, a="p", b="q"), root)
    p, q = (root / f"data/augmented/tiny-{name}" for name in "pq")
    before = made_at(p), made_at(q)
    policies["q"]["online"] = [{"noise": {"p": 0.1}}]
    stage.run(params(policies, a="p", b="q"), root)
    assert made_at(p) == before[0]
    assert made_at(q) != before[1]


def names(root: Path) -> set[str]:
    return {path.name for path in (root / "data/augmented").iterdir()}


def test_folders_of_policies_that_no_job_uses_are_removed(root: Path) -> None:
    policies: dict[str, Any] = {"p": {}, "q": {}}
    stage.run(params(policies, a="p", b="q"), root)
    assert names(root) == {stage.NOTE, "tiny-p", "tiny-q"}
    stage.run(params(policies, a="p"), root)
    assert names(root) == {stage.NOTE, "tiny-p"}
    stage.run(params(policies, a=None), root)
    assert names(root) == {stage.NOTE}  # DVC would warn of an empty folder


def test_damaged_data_are_refused(root: Path) -> None:
    shard = root / "data/prepared/tiny/train-00000.arrow"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"train-00000\.arrow"):
        stage.run(params({"p": {}}, a="p"), root)
    assert names(root) == set()
