"""Any transform of albumentations by name: annotations follow, and what can't be trained with is refused before."""

from typing import Any

import numpy as np
import pytest

from pipeline.augment.policy import Policy, check
from pipeline.errors import UserError
from pipeline.geometry import rle
from pipeline.sample import IGNORE
from tests.helpers.marks import NUMBER, SIDE, bright, extent, marked


def entry(name: str, **options: Any) -> dict[str, dict[str, Any]]:
    return {"albumentations": {"name": name, **options}}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("CLAHE", {"clip_limit": 4.0, "p": 0.5}),
        ("HueSaturationValue", {}),
        ("RandomRotate90", {}),
        ("Affine", {"rotate": [-30, 30]}),
        ("CoarseDropout", {}),
    ],
)
def test_a_transform_is_taken_with_its_options(name: str, options: dict[str, Any]) -> None:
    check([entry(name, **options)], ["nose"])


@pytest.mark.parametrize("with_masks", [False, True])
def test_annotations_follow(with_masks: bool) -> None:
    change = Policy([entry("Affine", rotate=[90, 90], translate_px={"x": 5, "y": -3}, p=1.0)])
    result = change(marked(with_masks=with_masks), 0)
    where = bright(result)
    assert not np.array_equal(result.pixels, marked().pixels)
    assert result.boxes is not None
    assert result.semantic is not None
    np.testing.assert_allclose(extent(result.semantic == NUMBER), extent(where), atol=1)
    np.testing.assert_allclose(result.boxes[0], extent(where), atol=1)
    assert IGNORE in result.semantic, "pixels from outside have no class"
    if with_masks:
        assert result.masks is not None
        assert (rle.decode(result.masks[0], SIDE, SIDE) == where).mean() > 0.99


@pytest.mark.parametrize(
    ("given", "facts"),
    [
        (entry("CLAE"), ["'CLAE'", "'CLAHE'"]),
        (entry("CLAHE", clip_limt=4.0), ["CLAHE", "'clip_limt'", "'clip_limit'"]),
        (entry("CLAHE", clip_limit="much"), ["CLAHE", "clip_limit", "'much'"]),
        (entry("RandomCrop", height=32, width=32), ["size of the image", "32×32"]),
        (entry("Normalize"), ["float32"]),
        (entry("FDA"), ["FDA"]),
        (entry("Compose"), ["Compose"]),
        (entry("HorizontalFlip"), ["HorizontalFlip", "horizontal_flip"]),
        ({"albumentations": {}}, ["name"]),
    ],
)
def test_what_can_not_be_trained_with_is_one_error(given: dict[str, dict[str, Any]], facts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        check([given], ["left eye", "right eye"])
    text = str(caught.value)
    assert "\n" not in text
    assert "augmentation" in text
    assert not [fact for fact in facts if fact not in text], text


def test_an_image_of_changed_size_is_refused_while_training_too() -> None:
    with pytest.raises(UserError, match="size of the image"):
        Policy([entry("CenterCrop", height=8, width=8, p=1.0)])(marked(), 0)


def test_sides_may_be_swapped() -> None:
    wide = marked()
    result = Policy([entry("Transpose", p=1.0)])(wide, 0)
    np.testing.assert_array_equal(result.pixels, wide.pixels.transpose(1, 0, 2))
