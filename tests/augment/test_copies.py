"""Staged copies are the same however they are cut into parts and whoever makes them."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import shards
from pipeline.augment import copies, ray_augment
from pipeline.sample import Facts, Sample
from pipeline.shards import Shards
from tests.helpers import surveys

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


def test_a_small_set_is_made_without_ray(stored: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "PART_PIXELS", 600)
    monkeypatch.setattr(ray_augment, "each", None)
    assert len(made(stored, tmp_path / "parts")) == 10
    assert len(list((tmp_path / "parts").iterdir())) > 2


def test_a_large_one_goes_to_ray_in_parts(stored: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, seen = made(stored, tmp_path / "one"), []

    def backwards(function: Any, parts: list[copies.Part]) -> None:
        for part in reversed(parts):
            seen.append(part.path.name)
            function(part)

    monkeypatch.setattr(ray_augment, "each", backwards)
    monkeypatch.setattr(copies, "PART_PIXELS", 600)
    monkeypatch.setattr(copies, "MANY_PIXELS", 1000)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert made(stored, tmp_path / "parts") == whole
    assert len(seen) == len(set(seen)) > 2


@pytest.mark.slow
def test_ray_writes_the_same_and_hands_on_errors(
    stored: Shards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = made(stored, tmp_path / "one")
    monkeypatch.setattr(copies, "PART_PIXELS", 600)
    monkeypatch.setattr(copies, "MANY_PIXELS", 1000)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with surveys.surveyed() as survey:
        assert made(stored, tmp_path / "parts") == whole
    assert survey.open_doors() == {}
    assert {"gcs_server", "raylet"} <= survey.listening.keys()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        copies.make(stored, 2, POLICY, FACTS, tmp_path / "nowhere")
