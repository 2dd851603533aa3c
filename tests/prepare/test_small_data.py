"""The small data sets of tests/data: every format reads its own, and all of them say the same of the same pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.geometry import rle
from pipeline.sample import Sample, facts
from tests.data.drawn import KEYPOINTS, NAMES, PHOTOGRAPHS, VIEWS
from tests.helpers.small_data import DATA, FORMATS, prepare, samples

LIMIT_BYTES = 600_000
COUNTS = {split: sum(view.split == split for view in VIEWS) for split in ("train", "val", "test")}
#: set → names of classes, names of a label map's classes, fields
FACTS: dict[str, tuple[Any, ...]] = {
    "classes": (tuple(PHOTOGRAPHS), (), ("label",)),
    "coco": (NAMES, (), ("boxes", "labels", "masks", "crowd", "keypoints")),
    "csv": (tuple(PHOTOGRAPHS), (), ("label",)),
    "masks": ((), ("background", *NAMES), ("semantic",)),
    "voc": (tuple(sorted(NAMES)), (), ("boxes", "labels", "difficult")),
    "yolo": (NAMES, (), ("boxes", "labels", "masks")),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every set's prepared folder."""
    return {name: prepare(name, tmp_path_factory.mktemp(name)) for name in FORMATS}


@pytest.mark.parametrize("name", FACTS)
def test_facts(name: str, prepared: dict[str, Path]) -> None:
    of_set = facts(prepared[name])
    assert (of_set.classes, of_set.semantic_classes, of_set.fields) == FACTS[name]
    assert (of_set.counts, of_set.skipped) == (COUNTS, ())
    assert of_set.keypoints == (KEYPOINTS if name == "coco" else ())


def test_idx_holds_tiles_of_all_photographs(prepared: dict[str, Path]) -> None:
    of_set = facts(prepared["idx"])
    assert of_set.counts["test"] == 2 * len(PHOTOGRAPHS)
    assert of_set.counts["train"] + of_set.counts["val"] == 8 * len(PHOTOGRAPHS)
    assert min(of_set.class_counts[: len(PHOTOGRAPHS)]) > 0
    (first,) = [sample for sample in samples(prepared["idx"]).values() if sample.id == "t10k/00000"]
    assert (first.label, first.pixels.shape) == (0, (28, 28, 3))


def test_the_same_pictures_whatever_the_format(prepared: dict[str, Path]) -> None:
    of_table = samples(prepared["csv"])
    assert {name: sample.pixels.shape[1::-1] for name, sample in of_table.items()} == {
        view.name: view.size for view in VIEWS
    }
    for name in FACTS:
        for picture, sample in samples(prepared[name]).items():
            np.testing.assert_array_equal(sample.pixels, of_table[picture].pixels)


def test_labels_are_the_photographs(prepared: dict[str, Path]) -> None:
    for name in ("classes", "csv"):
        labels = {picture: sample.label for picture, sample in samples(prepared[name]).items()}
        assert labels == {view.name: list(PHOTOGRAPHS).index(view.photograph) for view in VIEWS}


def by_class(sample: Sample, classes: tuple[str, ...]) -> dict[str, list[float]]:
    assert sample.boxes is not None
    assert sample.labels is not None
    return {classes[label]: box for label, box in zip(sample.labels.tolist(), sample.boxes.tolist(), strict=True)}


@pytest.mark.parametrize(("name", "precision"), [("coco", 0.011), ("yolo", 0.005), ("voc", 0.501)])
def test_boxes_agree_to_the_formats_precision(name: str, precision: float, prepared: dict[str, Path]) -> None:
    classes = facts(prepared[name]).classes
    read = samples(prepared[name])
    for view in VIEWS:
        boxes = by_class(read[view.name], classes)
        assert boxes.keys() == {item.name for item in view.objects()}
        for item in view.objects():
            xs, ys = zip(*item.corners, strict=True)
            assert boxes[item.name] == pytest.approx([min(xs), min(ys), max(xs), max(ys)], abs=precision)


def test_masks_agree_to_a_few_pixels_of_the_contour(prepared: dict[str, Path]) -> None:
    """Each rasteriser decides for itself which pixels of an outline are inside."""
    coco, yolo, drawn = (samples(prepared[name]) for name in ("coco", "yolo", "masks"))
    for view in VIEWS:
        semantic = drawn[view.name].semantic
        assert semantic is not None
        for place, item in enumerate(view.objects()):
            theirs = semantic == 1 + NAMES.index(item.name)
            for sample in (coco[view.name], yolo[view.name]):
                assert sample.masks is not None
                ours = rle.decode(sample.masks[place], *view.size[::-1])
                assert (ours & theirs).sum() / (ours | theirs).sum() > 0.75


def test_keypoints_lie_on_the_face(prepared: dict[str, Path]) -> None:
    read = samples(prepared["coco"])
    for view in VIEWS:
        keypoints = read[view.name].keypoints
        assert keypoints is not None
        for item, given in zip(view.objects(), keypoints, strict=True):
            wanted = [[x, y, 2] for x, y in item.keypoints] or [[0, 0, 0]] * len(KEYPOINTS)
            np.testing.assert_allclose(given, wanted, atol=0.01)


def test_pictures_are_stored_in_several_ways() -> None:
    assert {view.stored for view in VIEWS} == {"jpg", "grey", "palette", "png", "rgba", "turned"}


def test_the_sets_are_small_and_their_sources_named() -> None:
    files = [path for path in DATA.rglob("*") if path.is_file() and "upgrade" not in path.parts]
    assert sum(path.stat().st_size for path in files) < LIMIT_BYTES
    text = (DATA / "README.md").read_text(encoding="utf-8")
    assert not [name for name in (*PHOTOGRAPHS.values(), *FORMATS, "CC0", "LICENSE.txt") if name not in text]
