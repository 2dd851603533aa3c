"""Boxes from maps against scipy and by hand, scores by hand, and the other members of the task."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]
from sklearn.metrics import accuracy_score
from torch import nn
from torchvision.ops import box_iou

from pipeline.learners.base import Settings
from pipeline.learners.localizer import ClassMaps, largest_box
from pipeline.sample import Sample
from pipeline.tasks import localization

SETTINGS = Settings(("cat", "dog", "emu"), (), (1, 1, 1), 3, 16, (0.5,) * 3, (0.25,) * 3)
IMAGE = np.full((16, 32, 3), 90, np.uint8)


def sample(label: int = 0, box: tuple[float, ...] = (0, 0, 16, 8), name: str = "x") -> Sample:
    return Sample(name, IMAGE, label=label, boxes=np.array([box], np.float32))


def class_maps(label: int, *boxes: tuple[int, int, int, int]) -> ClassMaps:
    """Probability 1 for a label, and maps of the image's size that are 1 in a box per class and 0 elsewhere."""
    maps = np.zeros((3, *IMAGE.shape[:2]), np.float32)
    for item, (left, top, right, bottom) in zip(maps, boxes, strict=True):
        item[top:bottom, left:right] = 1
    return ClassMaps(np.eye(3, dtype=np.float32)[label], maps)


LEFT, RIGHT, ALL = (0, 0, 16, 8), (16, 8, 32, 16), (0, 0, 32, 16)


def ones(number: int) -> NDArray[np.int64]:
    return np.ones(number, np.int64)


def table(*pairs: tuple[Sample, ClassMaps]) -> pa.Table:
    return pa.Table.from_pylist([localization.rows(*pair) for pair in pairs])


def test_the_box_is_scipys_largest_component_above_a_fifth() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        heat = ndimage.gaussian_filter(generator.normal(size=(24, 30)), 2).astype(np.float32)
        components, count = ndimage.label(heat > 0.2 * heat.max())
        sizes = ndimage.sum_labels(np.ones_like(components), components, range(1, count + 1))
        if (sizes == sizes.max()).sum() > 1:
            continue
        rows, columns = ndimage.find_objects(components)[int(sizes.argmax())]
        assert largest_box(heat).tolist() == [columns.start, rows.start, columns.stop, rows.stop]


def test_a_box_by_hand() -> None:
    heat = np.zeros((6, 8), np.float32)
    heat[1, 1] = 10  # the maximum, alone
    heat[3:5, 4:7] = 2.1
    heat[5, 0:8] = 2.0  # a fifth is not above a fifth
    heat[0, 2] = 3  # corners don't connect
    assert largest_box(heat).tolist() == [4, 3, 7, 5]
    heat[3:5, 4:7] = 1.9
    heat[0, 2] = 0
    assert largest_box(heat).tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_map_without_evidence_gives_the_whole_image(value: float) -> None:
    assert largest_box(np.full((6, 8), value, np.float32)).tolist() == [0, 0, 8, 6]


def test_maps_are_enlarged_to_the_stored_image() -> None:
    maps = np.zeros((3, 4, 4), np.float32)
    maps[1, 0:2, 2:4] = 1
    prediction = ClassMaps(np.array([0, 1, 0], np.float32), maps)
    assert prediction.label == 1
    assert prediction.heat(1, 64, 32).shape == (64, 32)
    left, top, right, bottom = prediction.box(1, 64, 32)
    assert (top, right) == (0, 32)
    assert 16 - 8 < left < 16  # the slope beside the component is above a fifth for some pixels
    assert 32 < bottom < 32 + 16


def test_scores_by_hand() -> None:
    """Label and box right; label right; box right, also by the true class's map; neither right."""
    pairs = (
        (sample(0), class_maps(0, LEFT, RIGHT, RIGHT)),
        (sample(0), class_maps(0, RIGHT, LEFT, LEFT)),
        (sample(0), class_maps(1, LEFT, LEFT, RIGHT)),
        (sample(0), class_maps(1, LEFT, RIGHT, RIGHT)),
    )
    scores = localization.scorer(table(*pairs), SETTINGS)(ones(4))
    assert scores == {"localization_accuracy": 0.25, "gt_known_loc": 0.75, "top1": 0.5, "mean_iou": 0.5}


def test_an_iou_of_exactly_a_half_is_a_true_positive() -> None:
    for box, expected in (((0, 0, 16, 16), 1), ((0, 0, 16, 16.5), 0)):
        row = table((sample(0, box), class_maps(0, LEFT, LEFT, LEFT)))
        assert localization.scorer(row, SETTINGS)(ones(1))["localization_accuracy"] == expected


def test_the_best_of_several_true_boxes_counts() -> None:
    two = Sample("x", IMAGE, label=0, boxes=np.array([RIGHT, (0, 0, 16, 10)], np.float32))
    row = localization.rows(two, class_maps(0, LEFT, ALL, ALL))
    assert row["iou"] == pytest.approx(0.8)


def case(number: int) -> list[tuple[Sample, ClassMaps]]:
    generator = np.random.default_rng(0)
    pairs = []
    for index in range(number):
        corner = generator.integers(0, 8, 2)
        box = (*corner.tolist(), *(corner + generator.integers(4, 9, 2)).tolist())
        maps = ndimage.gaussian_filter(generator.normal(size=(3, 8, 8)), (0, 1, 1)).astype(np.float32)
        probabilities = generator.dirichlet(np.ones(3)).astype(np.float32)
        pairs.append((sample(int(generator.integers(3)), box, str(index)), ClassMaps(probabilities, maps)))
    return pairs


def test_scores_are_those_of_torchvision_and_scikit_learn() -> None:
    pairs = case(40)
    rows = table(*pairs)
    scores = localization.scorer(rows, SETTINGS)(ones(40))
    labels, guesses = [pair[0].label for pair in pairs], [pair[1].label for pair in pairs]
    overlaps = [
        float(box_iou(torch.tensor([row["box"]]), torch.from_numpy(pair[0].boxes)).max())
        for row, pair in zip(rows.to_pylist(), pairs, strict=True)
    ]
    assert scores["top1"] == pytest.approx(accuracy_score(labels, guesses))
    assert scores["mean_iou"] == pytest.approx(np.mean(overlaps), rel=1e-5)
    right = np.array(labels) == np.array(guesses)
    assert scores["localization_accuracy"] == pytest.approx((right & (np.array(overlaps) >= 0.5)).mean())
    assert scores["localization_accuracy"] <= scores["top1"]


def test_counts_are_repeated_rows() -> None:
    rows = table(*case(30))
    counts = np.random.default_rng(1).integers(0, 4, 30)
    weighted = localization.scorer(rows, SETTINGS)(counts)
    repeated = rows.take(np.repeat(np.arange(30), counts))
    assert weighted == pytest.approx(localization.scorer(repeated, SETTINGS)(ones(int(counts.sum()))))
    assert weighted != pytest.approx(localization.scorer(rows, SETTINGS)(ones(30)))


def test_a_row() -> None:
    row = localization.rows(sample(2, LEFT), class_maps(1, ALL, RIGHT, LEFT))
    assert row == {
        "label": 2,
        "prediction": 1,
        "confidence": 1.0,
        "box": [16, 8, 32, 16],
        "iou": 0,
        "gt_known_iou": 1,
        "severity": 2,
    }
    assert json.loads(json.dumps(row)) == row


class Fixed(nn.Module):
    """Maps of 2×2 that are its parameter, whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.arange(12.0).reshape(1, 3, 2, 2))

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = self.maps.expand(len(images), -1, -1, -1)
        return {"logits": maps.mean((2, 3)), "maps": maps}


def test_the_learner_learns_from_labels_and_answers_with_maps() -> None:
    learner = localization.learner(Fixed(), SETTINGS)
    images, labels = localization.collate([sample(2), sample(0)], SETTINGS)
    assert (images.shape, images.dtype, labels.tolist()) == ((2, 3, 16, 32), torch.uint8, [2, 0])
    losses = learner(images, labels)
    exponents = np.exp(np.array([1.5, 5.5, 9.5]))
    nats = -np.log(exponents / exponents.sum())
    assert float(losses["cross_entropy"].detach()) == pytest.approx((nats[2] + nats[0]) / 2, rel=1e-5)
    with torch.no_grad():
        first, second = learner(images)
    np.testing.assert_allclose(first.probabilities, np.exp(-nats), rtol=1e-5)
    np.testing.assert_array_equal(second.maps, np.arange(12.0).reshape(3, 2, 2))


def test_answer_and_back() -> None:
    (item, prediction), *_ = case(1)
    answered = json.loads(json.dumps(localization.answer(item, prediction, SETTINGS)))
    assert list(answered) == list(localization.OUTPUT)
    assert answered["label"] == SETTINGS.classes[prediction.label]
    assert answered["box"] == localization.rows(item, prediction)["box"]
    again = localization.prediction(item, answered, SETTINGS)
    np.testing.assert_array_equal(again.probabilities, prediction.probabilities)
    np.testing.assert_array_equal(again.maps, prediction.maps)
    assert localization.rows(item, again) == localization.rows(item, prediction)


def colors(picture: NDArray[np.uint8]) -> set[tuple[Any, ...]]:
    return {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}


def test_pictures_show_both_boxes_and_are_green_if_correct() -> None:
    for label, true, channel in ((0, (0, 0, 16, 9), 1), (0, RIGHT, 0), (1, (0, 0, 16, 9), 0)):
        picture = localization.draw(sample(label, true), class_maps(0, LEFT, LEFT, LEFT), SETTINGS)
        assert picture.shape == (112, 96, 3)
        assert picture.dtype == np.uint8
        assert picture[-1, -1].argmax() == channel
        frame = (0, 230, 118) if channel == 1 else (255, 82, 82)
        assert {(255, 255, 255), frame} <= colors(picture)


def test_the_figure_falls_with_the_iou_threshold() -> None:
    figure = localization.figures(table(*case(30)), SETTINGS)["overlap"]
    (axes,) = figure.axes
    scores = localization.scorer(table(*case(30)), SETTINGS)(ones(30))
    for line in axes.get_lines()[:2]:
        values = np.asarray(line.get_ydata())
        assert (np.diff(values) <= 0).all()
        assert values[50] == pytest.approx(scores[str(line.get_label())])


def test_images_without_a_box_count_for_the_label_alone() -> None:
    empty = Sample("x", IMAGE, label=0, boxes=np.zeros((0, 4), np.float32))
    rows = table((empty, class_maps(0, LEFT, LEFT, LEFT)), (sample(0), class_maps(1, LEFT, LEFT, RIGHT)))
    scores = localization.scorer(rows, SETTINGS)(ones(2))
    assert scores == {"localization_accuracy": 0, "gt_known_loc": 1, "mean_iou": scores["mean_iou"], "top1": 0.5}
    assert rows["severity"].to_pylist()[0] == 0
    alone = localization.scorer(rows.slice(0, 1), SETTINGS)(ones(1))
    assert np.isnan([alone[name] for name in ("localization_accuracy", "gt_known_loc", "mean_iou")]).all()
    assert alone["top1"] == 1
    assert localization.figures(rows.slice(0, 1), SETTINGS) == {}
    assert localization.draw(empty, class_maps(0, LEFT, LEFT, LEFT), SETTINGS).std() > 0


@pytest.mark.parametrize(("box", "label", "severity"), [(LEFT, 0, 0), ((0, 0, 16, 16.5), 0, 0.5), (LEFT, 1, 1)])
def test_severity_is_0_for_what_counts_as_localized(box: tuple[float, ...], label: int, severity: float) -> None:
    row = localization.rows(sample(0, box), class_maps(label, LEFT, LEFT, LEFT))
    assert row["severity"] == pytest.approx(severity, abs=0.02)
