"""Many images take little memory, and what is read of them again is what was written."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import processes
from pipeline.prepare import duplicates
from pipeline.prepare.entries import Entry, ingest
from pipeline.prepare.findings import Findings
from pipeline.prepare.loading import Item
from pipeline.prepare.traits import pixel_digest
from pipeline.sample import Classes, Sample

FEW, MANY = 100, 1100
MOST_BYTES = 200


def items(number: int) -> Iterator[Item]:
    yield Classes(("a", "b"))
    for at in range(number):
        yield Sample(f"a/long/folder/{at:060d}", pixels(at), label=at % 2, source=f"a/long/folder/{at:060d}.png")


def pixels(at: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.frombuffer(int(at).to_bytes(3, "big") * 4, np.uint8).reshape(2, 2, 3)


def entries(path: Path, number: int) -> list[Entry]:
    return ingest(items(number), path, None, Findings("data/raw/mine"))[1]


def test_an_image_takes_few_bytes_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "cores", lambda: 1)
    entries(tmp_path / "first", FEW)  # what is loaded once
    sizes = []
    for number in (FEW, MANY):
        tracemalloc.start()
        held = entries(tmp_path / str(number), number)
        assert len(held) == number
        sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert (sizes[1] - sizes[0]) / (MANY - FEW) < MOST_BYTES


def test_an_entry_reads_what_was_written(tmp_path: Path) -> None:
    for at, entry in enumerate(entries(tmp_path / "spool", 5)):
        assert entry.where == f"data/raw/mine/a/long/folder/{at:060d}.png"
        assert entry.pixels == entry.group == pixel_digest(Image.fromarray(pixels(at)))
        assert (entry.classes, entry.row, entry.split) == ((at % 2,), at, None)


def test_equal_images_are_found_among_many(tmp_path: Path) -> None:
    def twice() -> Iterator[Item]:
        yield Classes()
        for at in range(40):
            yield Sample(str(at), pixels(at % 30), split="train" if at < 30 else "test")

    _, several = ingest(twice(), tmp_path / "spool", None, Findings(None))
    assert sorted(duplicates.copies(several)) == list(range(10))
