"""A score is a number or undefined for a reason; its bounds are looked up as its reason is."""

import pytest

from pipeline import plugins, scores


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("box_mAP", "no box in test"),
        ("box_AP[cat]", "no object of the class in test"),
        ("box_AR_small", "no box in test"),
        ("keypoint_mAP under fog", "no object with keypoints in test"),
        ("keypoint_AP[cat]", "no object of the class with keypoints in test"),
    ],
)
def test_a_reason_is_that_of_the_name_of_its_prefix_or_of_all(metric: str, expected: str) -> None:
    assert scores.reason("keypoint_detection", metric, "test") == expected


def test_bounds_are_those_of_the_name_or_of_all() -> None:
    assert scores.bounds("classification", "recall[cat]") == (0, 1)
    assert scores.bounds("classification", "nll under fog") == (0, None)
    assert scores.bounds("generation", "KID[lenet5]") == scores.UNBOUNDED


@pytest.mark.parametrize("task", plugins.names("tasks"))
def test_the_shipped_tasks_say_why_any_score_is_undefined(task: str) -> None:
    assert set(plugins.constant("tasks", task, "UNDEFINED") or {}) >= {""}


def test_words_of_a_number_and_of_none() -> None:
    measured = {"primary": "top1", "top1": 0.5, "top1_low": 0.25, "top1_high": 0.75}
    assert scores.words(measured) == "test top1 0.5000 [0.2500, 0.7500]"
    assert scores.words({"primary": "top1", "top1": 0.5}, before="", after=" on test") == "top1 0.5000 on test"
    undefined = {"primary": "mAP", "mAP": None, "undefined": {"mAP": "no box in test"}}
    assert scores.words(undefined) == "mAP undefined: no box in test"
    assert scores.words({"primary": "mAP", "mAP": None}) == "mAP undefined"


@pytest.mark.parametrize(
    ("value", "expected"), [(1, 1.0), (float("nan"), None), (None, None), (True, None), ("1", None)]
)
def test_only_finite_numbers_are_numbers(value: object, expected: float | None) -> None:
    assert scores.finite_or_none(value) == expected
