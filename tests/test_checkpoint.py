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


def test_images_are_scaled_as_when_the_model_was_trained() -> None:
    unsaid = {name: value for name, value in SETTINGS.items() if name != "max_side"}
    sides = [checkpoint.stored_settings({"settings": unsaid | said}).max_side for said in ({}, {"max_side": None})]
    assert sides == [1024, None]


def test_former_names_of_options_build_the_same_network() -> None:
    options = {"backbone": "resnet", "backbone_options": {"depth": 20, "width": 4}, "width": 8}
    description = {"task": "localization", "architecture": "cam", "loss": {}, "settings": SETTINGS}
    former, current = (
        checkpoint.build(description | {"options": options | {name: "layer2"}}) for name in ("stage", "level")
    )
    assert former.state_dict().keys() == current.state_dict().keys()
