"""HEIC images, where the extra is installed; a stand-in of it reads PNGs behind HEIC's first bytes."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import shards
from pipeline.params import Dataset, Params
from pipeline.prepare.stage import compute_fingerprint, run
from tests.helpers import folders

HEAD = b"\0\0\0\x18ftypheic" + bytes(20)
STAND_IN = f"""
from PIL import Image, ImageFile, PngImagePlugin
import io

class Heif(ImageFile.ImageFile):
    format = "HEIF"
    def _open(self):
        self.fp.seek({len(HEAD)})
        inner = Image.open(io.BytesIO(self.fp.read()))
        inner.load()
        self._mode, self._size, self.im, self.tile = inner.mode, inner.size, inner.im, []
    def load(self):
        return self.im.pixel_access(False)

def register_heif_opener():
    Image.register_open("HEIF", Heif, lambda head: head[4:12] == b"ftypheic")
"""
PREPARE = """
import json, sys
from pathlib import Path
from pipeline.params import Dataset, Params
from pipeline.prepare.stage import compute_fingerprint, run
dataset = Dataset(**json.loads(sys.argv[1]))
run(Params(datasets={"mine": dataset}, jobs={}), Path("."))
print(compute_fingerprint(dataset, Path(".")))
"""
SETTINGS = {"format": "image_folder", "path": "data/raw/mine"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder of PNGs, two of which are HEIC."""
    source = tmp_path / "data/raw/mine"
    folders.image_folder(source)
    for name in ("train/cat/0.png", "train/dog/1.png"):
        picture = source / name
        picture.with_suffix(".HEIC").write_bytes(HEAD + picture.read_bytes())
        picture.unlink()
    return tmp_path


def test_heic_is_read_by_the_extra_and_stored_so_that_nothing_else_needs_it(project: Path) -> None:
    (project / "extra").mkdir()
    (project / "extra/pillow_heif.py").write_text(STAND_IN)
    info = project / "extra/pillow_heif-1.2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pillow-heif\nVersion: 1.2.0\n")
    dataset = Dataset.model_validate(SETTINGS)
    run(Params(datasets={"mine": dataset}, jobs={}), project)
    before = compute_fingerprint(dataset, project)
    assert len(shards.split(project / "data/prepared/mine", "train")) == folders.COUNTS["train"] - 2
    repo = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(project / "extra"), str(repo)])}
    command = [sys.executable, "-c", PREPARE, json.dumps(SETTINGS)]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] != before  # so that installing the extra is no reason to delete anything
    stored = {item.id: item for item in shards.split(project / "data/prepared/mine", "train")}
    for name in ("train/cat/0", "train/dog/1"):
        data = (project / f"data/raw/mine/{name}.HEIC").read_bytes().removeprefix(HEAD)
        with Image.open(io.BytesIO(data)) as picture:
            np.testing.assert_array_equal(stored[f"{name}.HEIC"].pixels, picture)


def test_the_extra_is_declared() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert 'heic = ["pillow-heif' in text
