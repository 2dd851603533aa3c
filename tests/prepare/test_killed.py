"""prepare, killed anywhere: nothing half-made is used, the next run goes on, and its bytes are an undisturbed run's."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline import images, shards, store
from pipeline.params import Dataset, Params
from pipeline.prepare.stage import UNFINISHED, run
from pipeline.sample import SPLITS
from tests.helpers.dying import die_at

NUMBER = 150
PROGRAM = """
from pathlib import Path
from pipeline import processes
from pipeline.params import Dataset, Params
from pipeline.prepare import make, stage
from tests.prepare.test_killed import SETTINGS
processes.ALONE_S = SECONDS
make.SHARD_BYTES = 20_000  # several a split
stage.run(Params(datasets={"mine": Dataset(**SETTINGS)}, jobs={}), Path("."))
"""
SETTINGS: dict[str, Any] = {"format": "image_folder", "path": "data/raw/mine"}
#: where it is killed: a function of the project, and which of its calls
POINTS = {
    "the first chunk is done": ("pipeline.prepare.entries:_entry", 1),
    "two chunks are done": ("pipeline.prepare.entries:_entry", 129),
    "the first shard is written": ("pipeline.prepare.make:copy_rows", 1),
    "a later one is written": ("pipeline.prepare.make:copy_rows", 3),
    "the facts are written": ("pipeline.prepare.make:record", 1),
    "the manifest is written": ("pipeline.store:write_json", 2),
    "the folder gets its name": ("pipeline.store:replace", 1),
    "it is copied": ("shutil:copytree", 1),
    "the copy gets its name": ("pipeline.store:replace", 2),
}
#: that take longest to make again, and are run always
QUICK = ("two chunks are done",)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for number in range(NUMBER):
        path = folder / f"{'ab'[number % 2]}/{number:03d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)
    return folder


@pytest.fixture
def root(source: Path, tmp_path: Path) -> Path:
    shutil.copytree(source, tmp_path / "data/raw/mine")
    return tmp_path


def prepare(root: Path) -> dict[str, Any]:
    """The files of the prepared data set, by name."""
    run(Params(datasets={"mine": Dataset(**SETTINGS)}, jobs={}), root)
    store.verify(root / "data/prepared/mine")
    files: dict[str, Any] = store.manifest(root / "data/prepared/mine")["files"]
    return files


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(source, root / "data/raw/mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.prepare.make.SHARD_BYTES", 20_000)
        files = prepare(root)
    assert len([name for name in files if name.startswith("train-")]) > 2
    return files


@pytest.mark.parametrize(
    ("point", "alone"),
    [
        pytest.param(point, alone, marks=() if point in QUICK and alone else pytest.mark.slow)
        for point in POINTS
        for alone in (False, True)
    ],
)
def test_a_killed_run_is_gone_on_with(
    point: str, alone: bool, root: Path, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """alone: in one process, else in as many as there are cores."""
    function, call = POINTS[point]
    die_at(function, call, PROGRAM.replace("SECONDS", "9.0" if alone else "0.0"), root)
    assert not (root / "data/prepared/mine").exists()
    decoded, open_bytes = list[bytes](), images.open_bytes

    def decode(data: bytes, reading: images.Reading) -> tuple[Image.Image, bool]:
        decoded.append(data)
        return open_bytes(data, reading)

    monkeypatch.setattr(images, "open_bytes", decode)
    monkeypatch.setattr("pipeline.prepare.make.SHARD_BYTES", 20_000)
    assert prepare(root) == undisturbed
    assert len(decoded) <= NUMBER - (0 if call == 1 and "entries" in function else 64)
    assert not (root / UNFINISHED / "mine").exists()
    left = [path.name for folder in ("data/prepared", ".work/prepare") for path in (root / folder).glob(".*")]
    assert left == []


@pytest.mark.parametrize("linked", [True, False])
def test_a_byte_that_is_flipped_in_a_shard_is_found(
    linked: bool, root: Path, undisturbed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """linked: it is flipped in the kept copy, too, so that the shard is made again, else it is restored."""
    monkeypatch.setattr("pipeline.prepare.make.SHARD_BYTES", 20_000)
    prepare(root)
    shard = next((root / "data/prepared/mine").glob("train-*.arrow"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    if not linked:
        shard.unlink()
    shard.write_bytes(data)
    assert prepare(root) == undisturbed
    ids = [sample.id for split in SPLITS for sample in shards.split(root / "data/prepared/mine", split)]
    assert len(set(ids)) == NUMBER
