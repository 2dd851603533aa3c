"""Every metric of every task has a sentence in the report's glossary."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline import plugins
from pipeline.geometry import rle
from pipeline.metric_names import OLD_METRIC_NAMES, renamed
from pipeline.report._glossary import meaning, meanings
from pipeline.sample import Sample
from tests.helpers import predictions

CLASSES, SEMANTIC = ("a", "b"), ("ground", "a")
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
    proposals=BOXES,
)


def metrics(task: str) -> set[str]:
    module = plugins.load("tasks", task)
    prediction, settings = predictions.predict(task, SAMPLE, CLASSES, SEMANTIC)
    table = pa.Table.from_pylist([{"id": name, **module.rows(SAMPLE, prediction)} for name in "xy"])
    return set(module.scorer(table, settings)(np.ones(2, np.int64)))


@pytest.mark.parametrize("task", plugins.names("tasks"))
def test_every_metric_of_a_task_has_a_meaning(task: str) -> None:
    names = metrics(task)
    assert plugins.load("tasks", task).PRIMARY in {name.split("[")[0] for name in names}
    assert not [name for name in names if meaning(name) is None]


def test_tasks_agree_about_a_score_that_several_name() -> None:
    named = [plugins.constant("tasks", task, "MEANINGS") or {} for task in plugins.names("tasks")]
    assert len({name for each in named for name in each}) == len({item for each in named for item in each.items()})


def test_the_sizes_of_objects_are_among_the_metrics() -> None:
    kinds, sizes = ("box_AP", "box_AR"), ("small", "medium", "large")
    assert {f"{kind}_{size}" for kind in kinds for size in sizes} <= metrics("detection")


def test_a_metric_of_masks_names_its_similarity_and_an_unknown_one_has_no_meaning() -> None:
    assert str(meaning("mask_AP75")).startswith(meanings()["box_AP75"])
    assert meaning("mask_AP75") != meaning("box_AP75")
    assert meaning("KID[lenet5]") == meanings()["KID"]
    assert meaning("mask_nonsense") is None
    assert str(meaning("keypoint_AR20")).startswith(meanings()["box_AR"])
    assert "keypoint" in str(meaning("keypoint_AP[a]"))
    assert meaning("box_AR300") == meanings()["box_AR"]
    assert meaning("box_AR_300") is None
    assert meaning("nonsense") is None


@pytest.mark.parametrize("name", OLD_METRIC_NAMES)
def test_an_old_name_has_the_meaning_of_todays(name: str) -> None:
    assert meaning(name) == meaning(renamed(name)) is not None
