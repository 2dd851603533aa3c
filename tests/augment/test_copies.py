"""Staged copies are the same however they are cut into parts and whoever makes them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import processes, shards
from pipeline.augment import copies
from pipeline.sample import Facts, Sample
from pipeline.shards import Shards

POLICY: list[dict[str, dict[str, Any]]] = [{"rotation": {}}, {"noise": {"p": 1.0}}, {"mixup": {}}]
FACTS = Facts("x", ("a", "b"), (), {}, (), (), {}, {})


@pytest.fixture
def stored(tmp_path: Path) -> Shards:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 10, 20, 3), dtype=np.uint8)
    items = [Sample(f"i{place}", pixels[place], label=place % 2) for place in range(5)]
    shards.write_shard(tmp_path / "train-00000.arrow", items)
    return shards.split(tmp_path, "train")


def made(stored: Shards, folder: Path, count: int = 2) -> list[tuple[str, bytes, bytes]]:
    folder.mkdir()
    copies.make(stored, count, POLICY, FACTS, folder)
    return [
        (item.id, item.pixels.tobytes(), np.asarray(item.label).tobytes()) for item in shards.split(folder, "copies")
    ]


def test_every_sample_is_copied_in_turn_each_copy_changed_anew(stored: Shards, tmp_path: Path) -> None:
    items = made(stored, tmp_path / "one")
    assert [name for name, *_ in items] == [f"i{place}" for place in range(5)] * 2
    assert len({pixels for _, pixels, _ in items}) == 10
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["copies-00000.arrow"]


@pytest.mark.parametrize("pixels", [1, 300, 600, 1999, 2000])
def test_parts_change_nothing(stored: Shards, tmp_path: Path, pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made(stored, tmp_path / "one")
    monkeypatch.setattr(copies, "PART_PIXELS", pixels)
    assert made(stored, tmp_path / "parts") == whole


def test_several_processes_write_the_same_and_hand_on_errors(
    stored: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(stored, tmp_path / "one")
    monkeypatch.setattr(copies, "PART_PIXELS", 600)
    monkeypatch.setattr(processes, "cores", lambda: 2)
    monkeypatch.setattr(processes, "ALONE_S", 0.0)
    assert made(stored, tmp_path / "parts") == whole
    assert len(list((tmp_path / "parts").iterdir())) > 2
    with pytest.raises(FileNotFoundError, match="nowhere"):
        copies.make(stored, 2, POLICY, FACTS, tmp_path / "nowhere")
