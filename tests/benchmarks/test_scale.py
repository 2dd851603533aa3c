"""The scale benchmark's images are all different, and what it counts is what is there."""

import os
import subprocess
from pathlib import Path

import pytest

from benchmarks.parts import measured_stage, photographs
from pipeline import images


def test_each_image_is_another_and_the_same_in_every_run(tmp_path: Path) -> None:
    photographs.make(tmp_path / "one", range(12), 100)
    photographs.make(tmp_path / "two", range(12), 100)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.jpg")} for name in ("one", "two")
    )
    assert first == second
    assert len(set(first.values())) == 12
    assert {images.decode(data).shape for data in first.values()} == {(75, 100, 3)}


def test_blocks_count_a_file_once_whatever_its_links(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_bytes(os.urandom(100_000))
    once = measured_stage.blocks([tmp_path / "a"])
    assert 100_000 <= once < 120_000
    (tmp_path / "b").mkdir()
    (tmp_path / "b/link").hardlink_to(tmp_path / "a/file")
    assert measured_stage.blocks([tmp_path / "a", tmp_path / "b"]) < once + 10_000


def test_memory_and_seconds_of_a_command_are_seen(tmp_path: Path) -> None:
    used = measured_stage.run(["-c", "import time; block = b'x' * 80_000_000; time.sleep(1)"], tmp_path)
    assert used.seconds >= 1
    assert 80_000_000 < used.peak_bytes < 300_000_000
    with pytest.raises(subprocess.CalledProcessError):
        measured_stage.run(["-c", "raise SystemExit(3)"], tmp_path)
