"""Small files that stand for more than any memory holds are refused by one sentence, and cost little to refuse."""

import gzip
import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.helpers import folders

ROOT = Path(__file__).parents[2]
PARAMS = """
datasets:
  digits: {format: digits}
jobs:
  linear: {task: classification, architecture: linear, dataset: digits, size: 8}
"""
#: kB that a process may take at most for all of the bombs below; without any it takes 150,000
MEMORY = 400_000
SIDE = 7000
FAR = 100_000
#: runs in a process of its own, so that its memory is its own: adds each folder, and tells what was said
CHILD = """
import contextlib, io, json, sys
from pathlib import Path
from convline.adding import Wishes, add
from pipeline.errors import UserError
told = {}
for path in map(Path, sys.argv[2:]):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            add(path, Path(sys.argv[1]), Wishes(dry_run=True))
        except UserError as error:
            said.write(str(error))
    told[path.name] = said.getvalue()
status = Path("/proc/self/status").read_text().split()
print(json.dumps({**told, "kB": status[status.index("VmHWM:") + 1]}))
"""


def frames(root: Path) -> None:
    folders.image_folder(root)
    stream = io.BytesIO()
    Image.new("P", (1, 1)).save(stream, "GIF")
    data = stream.getvalue()
    begin = data.index(b"\x2c")
    (root / "train/cat/many.gif").write_bytes(data[:begin] + data[begin:-1] * 100_000 + b";")


def laughs(root: Path) -> None:
    folders.yolo(root)
    lines = ["a0: &a0 [ha]", *(f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]" for at in range(1, 12))]
    (root / "data.yaml").write_text("\n".join(["train: train/images", *lines, "names: *a11"]))


def brackets(root: Path) -> None:
    folders.yolo(root)
    (root / "data.yaml").write_text("names: " + "[" * 100_000)


def packed(root: Path) -> None:
    folders.idx(root)
    (root / "train-images-idx3-ubyte").unlink()
    member = gzip.compress(bytes(13_500_000))
    header = gzip.compress(struct.pack(">4I", 0x803, 1_350_000, 1000, 1))
    (root / "train-images-idx3-ubyte.gz").write_bytes(header + member * 100)


def masks(root: Path) -> None:
    folders.mask_png(root)
    for path in (root / "masks").rglob("*[02468].png"):
        Image.new("L", (SIDE, SIDE)).save(path)


def coco(root: Path, side: int, shape: object) -> None:
    """Images that say they are of a side, and a thing of a shape in each."""
    folders.coco(root)
    for path in root.glob("*/*.json"):
        document = json.loads(path.read_text())
        for item in document["images"]:
            item["width"] = item["height"] = side
        for item in document["annotations"]:
            item["segmentation"] = shape
        path.write_text(json.dumps(document))


def runs(root: Path) -> None:
    coco(root, SIDE, {"size": [SIDE, SIDE], "counts": [0, SIDE * SIDE]})


def zigzag(root: Path) -> None:
    coco(root, SIDE, [[value for at in range(2000) for value in (at % 2 * SIDE, at)]])


def canvas(root: Path) -> None:
    coco(root, FAR, {"size": [FAR, FAR], "counts": [0, FAR * FAR]})


def deep_folders(root: Path) -> None:
    folders.image_folder(root)
    root.joinpath("train/cat", *["a"] * 400).mkdir(parents=True)


BOMBS: dict[str, tuple[Callable[[Path], None], str]] = {
    "frames": (frames, "train/cat/many.gif: holds several frames or pages. Save the one that counts"),
    "laughs": (laughs, "data.yaml: not valid YAML. Line 6: aliases stand for more than 100,000 values. Correct it."),
    "brackets": (brackets, "data.yaml: Line 1: nested more than 50 deep. Write it flatter."),
    "packed": (packed, "ubyte.gz: its header says 1,350,000,000 bytes, more than 100 times the file's size. No images"),
    "masks": (masks, "label map of 7000×7000 for an image of 32×32. Export it again"),
    "runs": (runs, "annotated for 7000×7000 pixels, but the upright image has 32×32"),
    "zigzag": (zigzag, "segmentation: a contour is longer than 800,000 pixels. Draw"),
    "canvas": (
        canvas,
        "_annotations.coco.json: image 0: width 100000, height 100000: not a valid image size. Give its",
    ),
    "deep": (deep_folders, "train: folders lie more than 50 deep in it. Move them up or remove them."),
}


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a process took at most is read from /proc")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What `convline add` says of each; it may take a minute of a slow machine, but not for ever."""
    root = tmp_path_factory.mktemp("bombs")
    (root / "project/data/raw").mkdir(parents=True)
    (root / "project/.git").mkdir()  # add asks for a repository first
    (root / "project/params.yaml").write_text(PARAMS)
    for name, (make, _) in BOMBS.items():
        make(root / name)
    command = [sys.executable, "-c", CHILD, str(root / "project"), *(str(root / name) for name in BOMBS)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_name_its_bound_and_a_remedy(name: str, told: dict[str, str]) -> None:
    assert BOMBS[name][1] in told[name]


def test_none_of_them_takes_memory(told: dict[str, str]) -> None:
    assert int(told["kB"]) < MEMORY
