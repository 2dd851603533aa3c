"""Templates correlate as in OpenCV, are the mean of train crops, and detect objects with their position and size."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import UserError
from pipeline.learners.base import Settings
from pipeline.learners.detector import Detector
from pipeline.models import template
from pipeline.models.parts.spec import Spec
from pipeline.models.template import correlate, standardize

SIDE = 64


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def array(image: Tensor) -> NDArray[np.float32]:
    """C×H×W as OpenCV has it."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def learner(classes: int = 3, channels: int = 3, **options: Any) -> Detector:
    names = tuple("abcdefgh"[:classes])
    settings = Settings(names, (), (1,) * classes, channels, SIDE, (0.5,) * channels, (0.25,) * channels)
    network: Any = template.build(Spec("detection", classes, channels, SIDE), **options)
    return Detector(network, settings)


@pytest.mark.parametrize(("channels", "side"), [(1, 5), (1, 8), (3, 8)])
def test_correlation_is_opencvs(channels: int, side: int) -> None:
    images, templates = noise(2, channels, 20, 20), noise(4, channels, side, side, seed=1)
    scores = correlate(images, standardize(templates))
    assert scores.shape == (2, 4, 21 - side, 21 - side)
    for image, row in zip(images, scores, strict=True):
        for shape, cells in zip(templates, row, strict=True):
            expected = cv2.matchTemplate(array(image), array(shape), cv2.TM_CCOEFF_NORMED)
            np.testing.assert_allclose(cells.numpy(), expected, atol=1e-5)


def test_correlation_by_hand() -> None:
    """A template that is brighter on the right, over the same, a constant, the reverse, and a partial match."""
    shape = standardize(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))
    windows = torch.tensor([[[3.0, 7], [3, 7]], [[5, 5], [5, 5]], [[7, 3], [7, 3]], [[0, 1], [0, 0]]])[:, None]
    # the last: deviations −¼, ¾, −¼, −¼ against ∓½ give ½, and their length is √¾
    torch.testing.assert_close(correlate(windows, shape).flatten(), torch.tensor([1.0, 0.0, -1.0, 0.5 / 0.75**0.5]))


def test_brightness_and_contrast_do_not_matter() -> None:
    images, shapes = noise(1, 3, 30, 30), standardize(noise(2, 3, 8, 8, seed=1))
    torch.testing.assert_close(correlate(0.3 * images - 2, shapes), correlate(images, shapes), atol=1e-4, rtol=0)
    assert not torch.allclose(correlate(images.square(), shapes), correlate(images, shapes), atol=1e-2)


def test_templates_are_the_mean_of_normalised_cut_outs() -> None:
    """Squares of 16 pixels around boxes that are 16 wide and 8 high are cut out as they are."""
    images = (noise(2, 3, SIDE, SIDE) * 255).to(torch.uint8)
    truth = [
        {"boxes": torch.tensor([[8.0, 20, 24, 28], [30, 40, 46, 48]]), "labels": torch.tensor([0, 2])},
        {"boxes": torch.tensor([[1.0, 5, 17, 13]]), "labels": torch.tensor([0])},
    ]
    matcher = learner()
    matcher.fit([(images[:1], truth[:1]), (images[1:], truth[1:])])
    fitted: Any = matcher.network
    pixels = matcher.normalize(images)
    first, second = pixels[0, :, 16:32, 8:24], pixels[1, :, 1:17, 1:17]
    expected = standardize(standardize(first[None]) + standardize(second[None]))[0]
    torch.testing.assert_close(fitted.templates[0], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(fitted.templates[2], standardize(pixels[:1, :, 36:52, 30:46])[0], atol=1e-5, rtol=1e-4)
    assert not fitted.templates[1].any()
    torch.testing.assert_close(fitted.shares, torch.tensor([[1, 0.5], [1, 1], [1, 0.5]]))


@pytest.mark.parametrize("side", [8, 9])
def test_an_object_is_detected_with_its_position_and_size(side: int) -> None:
    """Fitted on an object of the template's size, detected there and, at twice the size, elsewhere."""
    shape = torch.nn.functional.interpolate(noise(1, 1, 4, 4, seed=3), (side, side), mode="bilinear")[0] * 255
    train_image, test_image = torch.full((2, 1, SIDE, SIDE), 128.0)
    train_image[:, 10 : 10 + side, 20 : 20 + side] = shape
    test_image[:, 30 : 30 + 2 * side, 6 : 6 + 2 * side] = torch.nn.functional.interpolate(
        shape[None], (2 * side, 2 * side), mode="bilinear"
    )[0]
    box = torch.tensor([[20.0, 10, 20 + side, 10 + side]])
    matcher = learner(2, 1, template=side, sides=[side, 2 * side]).eval()
    matcher.fit([(train_image[None].to(torch.uint8), [{"boxes": box, "labels": torch.tensor([1])}])])
    with torch.no_grad():
        detections = matcher.network(matcher.normalize(torch.stack([train_image, test_image]).to(torch.uint8)))
    for item, expected in zip(detections, (box[0], torch.tensor([6.0, 30, 6 + 2 * side, 30 + 2 * side])), strict=True):
        assert item["labels"][0] == 1
        assert item["scores"][0] > 0.95
        torch.testing.assert_close(item["boxes"][0], expected, atol=1.5, rtol=0)
    assert detections[0]["scores"][0] > 0.999


def test_nothing_learns_by_gradient() -> None:
    assert learner().phases == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": 1}, r"options\.template: a side of 1 pixels is too small"),
        ({"sides": [16, 80]}, r"options\.sides: \[16, 80\] must lie between 1 and 64"),
        ({"sides": [0]}, r"options\.sides"),
    ],
)
def test_impossible_windows_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        learner(**options)
