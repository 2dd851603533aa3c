"""What coco, voc and yolo each make of the same odd box: a refusal that names it, or a cut at the border."""

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline import plugins
from pipeline.prepare.entries import ingest
from pipeline.prepare.findings import Findings
from pipeline.sample import Sample
from pipeline.shards import Shards
from tests.helpers import writers

#: x_min, y_min, x_max, y_max in an image of 20×10 pixels
ODD = {
    "without width": (4, 2, 4, 6),
    "without height": (4, 2, 8, 2),
    "inverted across": (8, 2, 4, 6),
    "inverted down": (4, 6, 8, 2),
    "outside": (24, 2, 28, 6),
    "before the first pixel": (-8, 2, -2, 6),
    "over the border": (14, 2, 24, 6),
    "larger than the image": (-4, -2, 24, 12),
}
#: formats that cut a box at the border; all others refuse it
CUT_BY = {"over the border": {"coco", "voc", "yolo"}, "larger than the image": {"coco", "voc"}}
CUT = {"over the border": [14, 2, 20, 6], "larger than the image": [0, 0, 20, 10]}
#: where each says what a box is
PLACES = {"coco": "annotations/instances_train.json: annotation 0", "voc": "Annotations/a.xml", "yolo": "a.txt: line 1"}
WRITERS: dict[str, writers.Writer] = {"coco": writers.coco, "voc": writers.voc, "yolo": writers.yolo}


def write(format: str, root: Path, box: tuple[float, ...]) -> None:
    """A data set of one image of 20×10 pixels with one box."""
    image = np.random.default_rng(0).integers(0, 256, (10, 20, 3), np.uint8)
    corners, labels = np.array([box], np.float32), np.array([0])
    WRITERS[format](root, [Sample("a", image, split="train", boxes=corners, labels=labels)], ["cat"])


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_box(odd: str, format: str, tmp_path: Path) -> None:
    root, findings = tmp_path / "raw", Findings(None)
    root.mkdir()
    write(format, root, ODD[odd])
    _, entries = ingest(plugins.load("prepare.formats", format).read(root), tmp_path / "spool", 64, findings)
    if format not in CUT_BY.get(odd, set()):
        (fault,) = findings.faults
        assert PLACES[format] in fault.where or "a.png" in fault.where
        assert re.search(r"\d", fault.reason), "names a value"
        assert not entries
        return
    assert findings.faults == []
    (sample,) = Shards([tmp_path / "spool"])
    assert sample.boxes is not None
    assert sample.boxes.tolist() == [pytest.approx(CUT[odd], abs=1e-5)]
    assert any("reach outside" in warning.reason for warning in findings.warnings)


@pytest.mark.parametrize("format", WRITERS)
def test_a_box_of_the_whole_image_is_as_it_should_be(format: str, tmp_path: Path) -> None:
    root, findings = tmp_path / "raw", Findings(None)
    root.mkdir()
    write(format, root, (0, 0, 20, 10))
    ingest(plugins.load("prepare.formats", format).read(root), tmp_path / "spool", 64, findings)
    (sample,) = Shards([tmp_path / "spool"])
    assert sample.boxes is not None
    assert sample.boxes.tolist() == [pytest.approx([0, 0, 20, 10])]
    assert not any("reach outside" in warning.reason for warning in findings.warnings)
