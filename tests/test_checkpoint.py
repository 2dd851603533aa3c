"""model.json of earlier versions is read: its settings have former names."""

from pipeline import checkpoint

SETTINGS = {
    "classes": ["cat"],
    "semantic_classes": [],
    "class_counts": [3],
    "channels": 3,
    "size": 64,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.2, 0.2, 0.2],
    "max_side": 1024,
}


def test_the_names_of_keypoints_are_read_under_both_names() -> None:
    for name in ("points", "keypoints"):
        read = checkpoint.stored_settings({"settings": SETTINGS | {name: ["nose", "tail"]}})
        assert read.keypoints == ("nose", "tail")
