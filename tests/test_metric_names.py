"""Old names of metrics are read as today's, wherever they were stored; today's stay as they are."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import registered, store, studies
from pipeline.metric_names import OLD_METRIC_NAMES, renamed, renamed_scores, renamed_text
from pipeline.register import decisions
from pipeline.train import history

#: a decision of an earlier version
DECISION = {"promoted": False, "metric": "loc_acc", "text": "cam: loc_acc differs by +0.0100 on 9 test images"}


@pytest.mark.parametrize(
    ("stored", "today"),
    [
        ("loc_acc", "localization_accuracy"),
        ("loc_acc_low", "localization_accuracy_low"),
        ("val_loc_acc", "val_localization_accuracy"),
        ("val/loc_acc", "val/localization_accuracy"),
        ("test/loc_acc_high", "test/localization_accuracy_high"),
        ("loc_acc under fog", "localization_accuracy under fog"),
        ("sure[lenet5]", "confident_fraction[lenet5]"),
        ("val/sure[lenet5]", "val/confident_fraction[lenet5]"),
        ("classes[lenet5]_low", "classes_found[lenet5]_low"),
        ("mAP", "box_mAP"),
        ("val/mAP", "val/box_mAP"),
        ("val_mAP", "val_box_mAP"),
        ("AP50_voc07_low", "box_AP50_voc07_low"),
        ("AP[a cat]_high", "box_AP[a cat]_high"),
        ("AR_small", "box_AR_small"),
        ("test/AR300", "test/box_AR300"),
        ("AP75 under fog", "box_AP75 under fog"),
    ],
)
def test_an_old_name_becomes_todays(stored: str, today: str) -> None:
    assert renamed(stored) == today
    assert renamed(today) == today


@pytest.mark.parametrize(
    "name",
    [
        *("top1", "gt_known_loc", "val_top1", "recall[loc_acc]", "classes", "sure", "train/loss", "mask_mAP"),
        *("keypoint_AP50", "mask_AP[cat]", "AREA", "APx", "MAP", "mAP5"),
    ],
)
def test_other_names_stay(name: str) -> None:
    assert renamed(name) == name


def test_no_new_name_is_an_old_one() -> None:
    assert all(renamed(new) == new for new in OLD_METRIC_NAMES.values())


def test_scores_and_their_primary_are_renamed_together() -> None:
    scores = {"primary": "loc_acc", "val_loc_acc": 0.4, "loc_acc": 0.5, "loc_acc_low": None, "task": "localization"}
    assert renamed_scores(scores) == {
        "primary": "localization_accuracy",
        "val_localization_accuracy": 0.4,
        "localization_accuracy": 0.5,
        "localization_accuracy_low": None,
        "task": "localization",
    }
    assert renamed_scores({"job": "x"}) == {"job": "x"}


def test_a_sentence_is_renamed_and_other_words_stay() -> None:
    assert renamed_text("cam: loc_acc 0.4750 on test") == "cam: localization_accuracy 0.4750 on test"
    assert renamed_text("sure[lenet5] 0.5") == "confident_fraction[lenet5] 0.5"
    assert renamed_text("rcnn replaces it: mAP differs") == "rcnn replaces it: box_mAP differs"
    for text in ("mask_mAP 0.4", "my-mAP 0.5"):
        assert renamed_text(text) == text
    for text in ("all classes", "of 3 subclasses[a]", "my_loc_acc", "localization_accuracy 0.5"):
        assert renamed_text(text) == text


def test_registered_models_are_read_with_todays_names(tmp_path: Path) -> None:
    entry = {"champion": {"job": "loc_acc", "fingerprint": "f"}, "decision": DECISION, "score": "test loc_acc 0.4750"}
    store.write_json(tmp_path / registered.FILE, {"made-localization": entry, "other": {"champion": None}})
    entries = registered.entries(tmp_path)
    assert entries["other"] == {"champion": None}
    read = entries["made-localization"]
    assert read["champion"] == entry["champion"]  # a job may have any name
    assert read["score"] == "test localization_accuracy 0.4750"
    assert read["decision"]["metric"] == "localization_accuracy"
    assert "loc_acc" not in read["decision"]["text"]


def test_a_versions_decision_is_read_with_todays_names() -> None:
    version = SimpleNamespace(tags={decisions.DECISION: json.dumps(DECISION), decisions.AGAINST: "f:d"})
    read = decisions.stored(version)
    assert read is not None
    assert (read["metric"], read["against"]) == ("localization_accuracy", "f:d")
    assert read["text"].startswith("cam: localization_accuracy differs")


def test_learning_curves_are_read_with_todays_names(tmp_path: Path) -> None:
    history.write(tmp_path / history.FILE, [{"epoch": 1, "train_loss": 0.5, "val/loc_acc": 0.25}])
    assert history.read(tmp_path / history.FILE) == [
        {"epoch": 1.0, "train_loss": 0.5, "val/localization_accuracy": 0.25}
    ]


def test_a_claim_may_have_an_old_name() -> None:
    assert studies.claim("a > b in loc_acc under fog").measure == "localization_accuracy under fog"
    assert studies.claim("a > b").measure is None
