"""Old names of metrics are read as today's; today's stay as they are."""

import pytest

from pipeline.metric_names import OLD_METRIC_NAMES, renamed, renamed_scores


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
    ],
)
def test_an_old_name_becomes_todays(stored: str, today: str) -> None:
    assert renamed(stored) == today
    assert renamed(today) == today


@pytest.mark.parametrize(
    "name", ["top1", "gt_known_loc", "val_top1", "recall[loc_acc]", "classes", "sure", "train/loss"]
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
