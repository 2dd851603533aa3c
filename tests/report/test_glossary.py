"""Every metric of every task has a sentence in the report's glossary."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline import plugins
from pipeline.geometry import rle
from pipeline.learners.adversarial import Generated
from pipeline.learners.base import Settings
from pipeline.learners.detector import Detections
from pipeline.learners.localizer import ClassMaps
from pipeline.learners.segmenter import LabelMap
from pipeline.metric_names import OLD_METRIC_NAMES, renamed
from pipeline.report._glossary import MEANINGS, meaning
from pipeline.sample import Sample

SETTINGS = Settings(("a", "b"), ("ground", "a"), (1, 1), 3, 128, (0.5,) * 3, (0.5,) * 3, ("tip",))
PIXELS = np.zeros((128, 128, 3), np.uint8)
#: one object of each of COCO's sizes
BOXES = np.array([[0, 0, 8, 8], [0, 0, 64, 64], [0, 0, 128, 128]], np.float32)
SAMPLE = Sample(
    "x",
    PIXELS,
    label=0,
    boxes=BOXES,
    labels=np.zeros(3, np.int64),
    crowd=np.zeros(3, np.bool_),
    keypoints=np.ones((3, 1, 3), np.float32),
    masks=[rle.encode(np.pad(np.ones((side, side), np.bool_), (0, 128 - side))) for side in (8, 64, 128)],
    semantic=PIXELS[..., 0],
)
PROBABILITIES = np.full(2, 0.5, np.float32)
NOTHING = Detections(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0), [], np.zeros((0, 1, 3)))
#: a prediction of each task; add a new task's here
PREDICTIONS: dict[str, Any] = {
    "classification": PROBABILITIES,
    "localization": ClassMaps(PROBABILITIES, np.zeros((2, 4, 4), np.float32)),
    "segmentation": LabelMap(np.zeros((4, 4), np.uint8), 2),
    "detection": NOTHING,
    "instance_segmentation": NOTHING,
    "keypoint_detection": NOTHING,
    "generation": Generated(PIXELS),
}


def metrics(task: str) -> set[str]:
    module = plugins.load("tasks", task)
    table = pa.Table.from_pylist([{"id": name, **module.rows(SAMPLE, PREDICTIONS[task])} for name in "xy"])
    return set(module.scorer(table, SETTINGS)(np.ones(2, np.int64)))


@pytest.mark.parametrize("task", plugins.names("tasks"))
def test_every_metric_of_a_task_has_a_meaning(task: str) -> None:
    names = metrics(task)
    assert plugins.load("tasks", task).PRIMARY in {name.split("[")[0] for name in names}
    assert not [name for name in names if meaning(name) is None]


def test_the_sizes_of_objects_are_among_the_metrics() -> None:
    assert {f"{kind}_{size}" for kind in ("AP", "AR") for size in ("small", "medium", "large")} <= metrics("detection")


def test_a_metric_of_masks_names_its_similarity_and_an_unknown_one_has_no_meaning() -> None:
    assert str(meaning("mask_AP75")).startswith(MEANINGS["AP75"])
    assert meaning("mask_AP75") != meaning("AP75")
    assert meaning("KID[lenet5]") == MEANINGS["KID"]
    assert meaning("mask_nonsense") is None
    assert str(meaning("keypoint_AR20")).startswith(MEANINGS["AR"])
    assert "keypoint" in str(meaning("keypoint_AP[a]"))
    assert meaning("AR300") == MEANINGS["AR"]
    assert meaning("AR_300") is None
    assert meaning("nonsense") is None


@pytest.mark.parametrize("name", OLD_METRIC_NAMES)
def test_an_old_name_has_the_meaning_of_todays(name: str) -> None:
    assert meaning(name) == meaning(renamed(name)) is not None
