"""Properties of the formats: what was written is read back, and no damage to a file is more than a fault."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.geometry import rle
from pipeline.prepare.entries import ingest
from pipeline.prepare.findings import Findings
from pipeline.sample import Classes, Fault, Sample
from pipeline.shards import Shards
from tests.helpers import writers
from tests.helpers.strategies import POINTS, Made, damaged, few, samples


def listing(name: str, root: Path, **options: Any) -> tuple[Classes, dict[str, Sample], list[str]]:
    """What a format reads: classes, samples by the name of their image, and faults."""
    classes, *items = plugins.load("prepare.formats", name).read(root, **options)
    assert isinstance(classes, Classes)
    read = {Path(item.id).stem: item for item in items if isinstance(item, Sample)}
    return classes, read, [str(item) for item in items if isinstance(item, Fault) and not item.warning]


def names(labels: Any, classes: Sequence[str]) -> list[str]:
    return [classes[label] for label in labels.tolist()]


def assert_equal(
    made: Made, read: dict[str, Sample], classes: Classes, fields: Sequence[str], precision: float
) -> None:
    """Splits, sizes, boxes, names of classes and other fields are those that were written."""
    assert read.keys() == {sample.id for sample in made.samples}
    for sample in made.samples:
        other = read[sample.id]
        assert (other.split, other.size) == (sample.split, sample.pixels.shape[:2])
        assert other.boxes is not None
        assert sample.boxes is not None
        np.testing.assert_allclose(other.boxes, sample.boxes, rtol=0, atol=precision)
        assert names(other.labels, classes.names) == names(sample.labels, made.classes)
        for field in fields:
            np.testing.assert_array_equal(getattr(other, field), getattr(sample, field))


@few
@given(samples())
def test_coco_gives_back_boxes_masks_crowds_and_keypoints(made: Made) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writers.coco(Path(folder), made.samples, made.classes, POINTS)
        classes, read, faults = listing("coco", Path(folder))
    objects = any(len(sample.labels) for sample in made.samples if sample.labels is not None)
    assert ["not one annotation" in fault for fault in faults] == ([] if objects else [True])
    assert classes.names == tuple(made.classes)
    assert classes.keypoints == (POINTS if objects else ())
    assert_equal(made, read, classes, ["masks", "crowd", "keypoints"] if objects else [], 1e-5)


@few
@given(samples(whole=True))
def test_voc_gives_back_whole_pixels_and_what_is_difficult(made: Made) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writers.voc(Path(folder), made.samples, made.classes)
        classes, read, faults = listing("voc", Path(folder))
    assert faults == []
    assert_equal(made, read, classes, ["difficult"], 0)


@few
@given(samples())
def test_yolo_gives_back_boxes(made: Made) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writers.yolo(Path(folder), made.samples, made.classes)
        classes, read, faults = listing("yolo", Path(folder))
    assert faults == []
    assert classes.names == tuple(made.classes)
    assert_equal(made, read, classes, [], 1e-4)


@few
@given(samples(whole=True))
def test_a_polygon_of_whole_pixels_is_filled_exactly(made: Made) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writers.yolo_outlines(Path(folder), made.samples, made.classes)
        classes, read, faults = listing("yolo", Path(folder))
    assert faults == []
    assert_equal(made, read, classes, [], 1e-4)
    for sample in made.samples:
        for packed, (left, top, right, bottom) in zip(
            read[sample.id].masks or (), writers.boxes_of(sample), strict=False
        ):
            height, width = sample.pixels.shape[:2]
            filled = np.zeros((height, width), np.bool_)
            filled[int(top) : int(bottom), int(left) : int(right)] = True
            np.testing.assert_array_equal(rle.decode(packed, height, width), filled)


@few
@given(samples())
def test_csv_gives_back_labels_splits_and_groups(made: Made) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writers.csv(Path(folder), made.samples, made.classes)
        classes, read, faults = listing("csv", Path(folder), as_classes=True)
    assert faults == []
    for sample in made.samples:
        other = read[sample.id]
        assert isinstance(sample.label, int)
        assert isinstance(other.label, int)
        assert classes.names[other.label] == made.classes[sample.label]
        assert (other.split, other.group) == (sample.split, sample.group)


@few
@given(samples())
def test_mask_png_gives_back_every_pixel(made: Made) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writers.mask_png(Path(folder), made.samples, made.classes)
        options = {"classes": made.classes, "values": list(range(len(made.classes)))}
        classes, read, faults = listing("mask_png", Path(folder), **options)
    assert faults == []
    assert classes.semantic == tuple(made.classes)
    for sample in made.samples:
        assert read[sample.id].split == sample.split
        np.testing.assert_array_equal(read[sample.id].semantic, sample.semantic)


#: format → writer, the files that say something of the images, options
DAMAGED: dict[str, tuple[writers.Writer, str, dict[str, Any]]] = {
    "coco": (writers.coco, "annotations/*.json", {}),
    "csv": (writers.csv, "*.csv", {}),
    "mask_png": (writers.mask_png, "*/masks/*.png", {"classes": ["a", "b"]}),
    "voc": (writers.voc, "Annotations/*.xml", {}),
    "yolo": (writers.yolo, "labels/*/*.txt", {}),
    "yolo names": (writers.yolo, "data.yaml", {}),
    "voc lists": (writers.voc, "ImageSets/Main/*.txt", {}),
}


def example() -> Made:
    """Three images with an object each."""
    corners, map_of_one = np.array([[1, 2, 7, 8]], np.float32), np.ones((9, 9), np.uint8)
    fields: dict[str, Any] = {
        "boxes": corners,
        "labels": np.array([1]),
        "masks": [rle.encode(map_of_one)],
        "semantic": map_of_one,
    }
    made = [
        Sample(f"picture{number}", np.full((9, 9, 3), number, np.uint8), "g", split, label=number % 2, **fields)
        for number, split in enumerate(("train", "val", "test"))
    ]
    return Made(made, ["a", "b"])


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_annotations_are_faults_or_a_users_error(name: str, tmp_path: Path) -> None:
    write, pattern, options = DAMAGED[name]
    made = example()
    write(tmp_path / "raw", made.samples, made.classes)
    files = {path: path.read_bytes() for path in sorted((tmp_path / "raw").glob(pattern))}
    module = plugins.load("prepare.formats", name.split()[0])

    @few
    @given(st.data())
    def read_damaged(data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(files)))
        path.write_bytes(data.draw(damaged(files[path])))
        findings = Findings(None)
        try:
            ingest(module.read(tmp_path / "raw", **options), tmp_path / "spool", 64, findings)
        except UserError:
            return
        finally:
            path.write_bytes(files[path])
        assert all(fault.where and fault.reason for fault in (*findings.faults, *findings.warnings))
        for sample in Shards([tmp_path / "spool"]):
            for left, top, right, bottom in [] if sample.boxes is None else sample.boxes.tolist():
                assert 0 <= left < right <= 9
                assert 0 <= top < bottom <= 9

    read_damaged()


FRACTIONS = st.floats(-30, 30, allow_nan=False, width=32)


@few
@given(st.lists(st.tuples(FRACTIONS, FRACTIONS, FRACTIONS, FRACTIONS), min_size=1, max_size=6))
def test_whatever_the_boxes_those_that_are_kept_lie_in_the_image(corners: list[tuple[float, ...]]) -> None:
    image = np.zeros((9, 12, 3), np.uint8)
    made = [
        Sample(f"{number}", image, split="train", boxes=np.array([box], np.float32), labels=np.array([0]))
        for number, box in enumerate(corners)
    ]
    findings = Findings(None)
    with tempfile.TemporaryDirectory() as folder:
        ingest(iter([Classes(("a",)), *made]), Path(folder, "spool"), 64, findings)
        kept = [writers.boxes_of(sample)[0] for sample in Shards([Path(folder, "spool")])]
    assert len(kept) + len(findings.faults) == len(corners)
    for left, top, right, bottom in kept:
        assert 0 <= left < right <= 12
        assert 0 <= top < bottom <= 9
