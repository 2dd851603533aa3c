"""Scores against scikit-learn and torchmetrics, losses against hand-worked ones, and the other members of the task."""

import dataclasses
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, log_loss, recall_score, top_k_accuracy_score
from torch import nn
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

from pipeline.learners.base import Learner, Settings
from pipeline.sample import Sample
from pipeline.tasks import classification

CLASSES = tuple("abcdefgh")
IMAGE = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


def settings(*counts: int, channels: int = 3) -> Settings:
    names = CLASSES[: len(counts)]
    return Settings(names, (), counts, channels, 4, (0.5,) * channels, (0.25,) * channels)


def with_classes(names: tuple[str, ...]) -> Settings:
    return dataclasses.replace(settings(*[1] * len(CLASSES)), classes=names)


SETTINGS = with_classes(CLASSES)
SAMPLE = Sample("x", IMAGE)


def case(number: int, classes: int = len(CLASSES)) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Labels, and probabilities that are right more often than by chance."""
    generator = np.random.default_rng(0)
    labels = generator.integers(classes, size=number)
    logits = generator.normal(size=(number, classes)) * 2
    logits[np.arange(number), labels] += 2
    return labels, torch.from_numpy(logits).softmax(1).float().numpy()


def table(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> pa.Table:
    samples = [Sample(str(index), IMAGE, label=int(label)) for index, label in enumerate(labels)]
    rows = map(classification.rows, samples, probabilities)
    return pa.Table.from_pylist(list(rows))


def ones(number: int) -> NDArray[np.int64]:
    return np.ones(number, np.int64)


def test_scores_are_those_of_scikit_learn_and_torchmetrics() -> None:
    labels, probabilities = case(500)
    scores = classification.scorer(table(labels, probabilities), SETTINGS)(ones(500))
    every = list(range(len(CLASSES)))
    guesses = probabilities.argmax(1)
    assert scores["top1"] == pytest.approx(top_k_accuracy_score(labels, probabilities, k=1, labels=every))
    assert scores["top5"] == pytest.approx(top_k_accuracy_score(labels, probabilities, k=5, labels=every))
    assert scores["mean_recall"] == pytest.approx(balanced_accuracy_score(labels, guesses))
    exact = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=float)
    assert scores["nll"] == pytest.approx(log_loss(labels, exact, labels=every), rel=1e-5)
    recalls = recall_score(labels, guesses, average=None)
    assert [scores[f"recall[{name}]"] for name in CLASSES] == pytest.approx(recalls.tolist())
    assert 0.2 < scores["top1"] < scores["top5"] < 1


def test_calibration_error_is_that_of_torchmetrics_with_15_bins() -> None:
    labels, probabilities = case(100)  # few, so that bins err to both sides and their number matters
    ours = classification.scorer(table(labels, probabilities), SETTINGS)(ones(100))["ECE"]
    guesses, truth = torch.from_numpy(probabilities), torch.from_numpy(labels)
    errors = {
        bins: float(multiclass_calibration_error(guesses, truth, num_classes=len(CLASSES), n_bins=bins, norm="l1"))
        for bins in (10, 14, 15, 16)
    }
    assert ours == pytest.approx(errors.pop(15), rel=1e-4)
    assert all(ours != pytest.approx(error, rel=1e-3) for error in errors.values())


def test_counts_are_repeated_rows() -> None:
    labels, probabilities = case(60)
    rows = table(labels, probabilities)
    counts = np.random.default_rng(1).integers(0, 4, 60)
    weighted = classification.scorer(rows, SETTINGS)(counts)
    repeated = rows.take(np.repeat(np.arange(60), counts))
    assert weighted == pytest.approx(classification.scorer(repeated, SETTINGS)(ones(int(counts.sum()))), nan_ok=True)
    assert weighted != pytest.approx(classification.scorer(rows, SETTINGS)(ones(60)), nan_ok=True)


def test_absent_classes_have_no_recall_and_do_not_count_in_the_mean() -> None:
    labels = np.array([0, 0, 1])
    probabilities = np.eye(8, dtype=np.float32)[[0, 2, 1]]
    scores = classification.scorer(table(labels, probabilities), SETTINGS)(ones(3))
    assert scores["mean_recall"] == pytest.approx(0.75)
    assert [name for name in CLASSES if np.isnan(scores[f"recall[{name}]"])] == list("cdefgh")
    assert scores["top1"] == pytest.approx(2 / 3)


def test_a_confidence_of_1_is_in_the_last_bin() -> None:
    probabilities = np.eye(8, dtype=np.float32)[[3, 3, 3, 3]]
    scores = classification.scorer(table(np.array([3, 3, 3, 4]), probabilities), SETTINGS)(ones(4))
    assert scores["ECE"] == pytest.approx(0.25)


def test_a_row() -> None:
    probabilities = np.array([0.5, 0.125, 0.25, 0.125], np.float32)
    row = classification.rows(Sample("x", IMAGE, label=3), probabilities)
    assert row == {
        "label": 3,
        "prediction": 0,
        "confidence": 0.5,
        "rank": 3,  # after 0, 2 and, of the equals, 1
        "nll": pytest.approx(np.log(8)),
        "severity": 0.875,
    }
    assert json.loads(json.dumps(row))["rank"] == 3
    assert classification.rows(Sample("x", IMAGE, label=1), probabilities)["rank"] == 2


def test_the_first_of_equal_probabilities_is_the_prediction() -> None:
    """All probabilities equal, or exactly 0 for all classes but one."""
    labels = np.arange(8)
    uniform = table(labels, np.full((8, 8), 0.125, np.float32))
    certain = table(labels, np.eye(8, dtype=np.float32)[[0] * 8])
    for rows in (uniform, certain):
        scores = classification.scorer(rows, SETTINGS)(ones(8))
        assert (scores["top1"], scores["top5"]) == (1 / 8, 5 / 8)
        assert np.isfinite(scores["nll"])


def test_collate_stacks_images_and_labels() -> None:
    samples = [Sample("x", IMAGE, label=2), Sample("y", IMAGE + 1, label=0)]
    images, labels = classification.collate(samples, settings(1, 1, 1))
    assert (images.shape, images.dtype) == ((2, 3, 5, 4), torch.uint8)
    assert images.is_contiguous()
    np.testing.assert_array_equal(images[1].permute(1, 2, 0), IMAGE + 1)
    assert labels.tolist() == [2, 0]
    assert labels.dtype == torch.int64
    gray, _ = classification.collate(samples, settings(1, 1, 1, channels=1))
    assert gray.shape == (2, 1, 5, 4)
    assert gray[0, 0, 0, 0] == round(0.299 * 0 + 0.587 * 1 + 0.114 * 2)


def test_one_soft_label_makes_the_batch_soft() -> None:
    soft = np.array([0.25, 0, 0.75], np.float32)
    _, labels = classification.collate([Sample("x", IMAGE, label=soft), Sample("y", IMAGE, label=1)], settings(1, 1, 1))
    assert labels.dtype == torch.float32
    assert labels.tolist() == [[0.25, 0, 0.75], [0, 1, 0]]


class Passing(nn.Module):
    """Gives its parameter as every image's logits."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits


LOGITS = [[0.0, 1.0, 3.0], [2.0, 0.0, -1.0], [0.5, 0.5, 0.0]]
LABELS = [2, 1, 0]


def loss(labels: Any, *counts: int, **options: Any) -> float:
    learner = classification.learner(Passing(LOGITS), settings(*counts), **options)
    losses = learner(torch.zeros(3, 3, 4, 4, dtype=torch.uint8), torch.as_tensor(labels))
    assert list(losses) == ["cross_entropy"]
    losses["cross_entropy"].backward()
    return float(losses["cross_entropy"].detach())


def negative_log_likelihoods() -> NDArray[np.float64]:
    """−log p of every class, image by image."""
    exponents = np.exp(LOGITS)
    return -np.log(exponents / exponents.sum(axis=1, keepdims=True))


def test_losses_by_hand() -> None:
    nats = negative_log_likelihoods()
    true = nats[[0, 1, 2], LABELS]
    assert loss(LABELS, 1, 1, 1) == pytest.approx(true.mean(), rel=1e-6)
    smooth = 0.9 * true + 0.1 * nats.mean(axis=1)
    assert loss(LABELS, 1, 1, 1, label_smoothing=0.1) == pytest.approx(smooth.mean(), rel=1e-6)
    weights = np.array([6 / 3, 6 / 6, 6 / 9])  # 6 images: 1, 2 and 3 a class
    assert loss(LABELS, 1, 2, 3, class_weights="balanced") == pytest.approx((weights[LABELS] * true).mean(), rel=1e-6)
    named = np.array([3, 1, 1])
    assert loss(LABELS, 1, 2, 3, class_weights={CLASSES[0]: 3}) == pytest.approx(
        (named[LABELS] * true).mean(), rel=1e-6
    )
    soft = np.array([[0.5, 0.5, 0], [0, 0, 1], [1, 0, 0]], np.float32)
    assert loss(soft, 1, 1, 1) == pytest.approx((soft * nats).sum(axis=1).mean(), rel=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing": 0.2}, {"class_weights": "balanced", "label_smoothing": 0.1}]
)
def test_hard_labels_are_soft_labels_of_one(options: dict[str, Any]) -> None:
    soft = F.one_hot(torch.tensor(LABELS), 3).float()
    assert loss(LABELS, 1, 5, 2, **options) == pytest.approx(loss(soft, 1, 5, 2, **options), rel=1e-6)


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    """Two workers with a part each train as one with the whole batch, class weights or not."""
    learner = classification.learner(nn.Identity(), settings(1, 5, 2), class_weights="balanced")
    logits, labels = torch.tensor(LOGITS), torch.tensor(LABELS)
    whole = learner.losses(logits, labels, "train")["cross_entropy"]
    parts = [
        learner.losses(logits[part], labels[part], "train")["cross_entropy"] for part in (slice(0, 2), slice(2, 3))
    ]
    assert float(parts[0] * 2 + parts[1]) / 3 == pytest.approx(float(whole), rel=1e-6)


def test_class_weights_weigh_every_image_by_one_on_average() -> None:
    learner = classification.learner(nn.Identity(), settings(10, 30, 60), class_weights="balanced")
    weight = learner.get_buffer("weight")
    assert float(weight @ torch.tensor([10.0, 30.0, 60.0])) == pytest.approx(100)
    np.testing.assert_allclose(weight * torch.tensor([10, 30, 60]), 100 / 3, rtol=1e-6)
    absent = classification.learner(nn.Identity(), settings(4, 0), class_weights="balanced")
    assert bool(absent.get_buffer("weight").isfinite().all())


def test_a_learner_normalises_answers_with_probabilities_and_stores_only_its_network() -> None:
    learner = classification.learner(Passing(LOGITS), settings(1, 1, 1), class_weights="balanced")
    assert isinstance(learner, Learner)
    assert learner.normalize(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))[0, 0, 0].tolist() == [-2, 2]
    with torch.no_grad():
        predictions = learner(torch.zeros(3, 3, 4, 4, dtype=torch.uint8))
    np.testing.assert_allclose(predictions, np.exp(-negative_log_likelihoods()), rtol=1e-6)
    assert predictions.dtype == np.float32
    assert list(learner.state_dict()) == ["network.logits"]
    (phase,) = learner.phases
    assert [parameter.shape for parameter in phase.parameters] == [(3, 3)]


def test_answer_and_back() -> None:
    _, (probabilities, *_) = case(1)
    answered = json.loads(json.dumps(classification.answer(SAMPLE, probabilities, SETTINGS)))
    assert list(answered) == list(classification.OUTPUT)
    assert answered["label"] == CLASSES[int(probabilities.argmax())]
    np.testing.assert_array_equal(classification.prediction(SAMPLE, answered, SETTINGS), probabilities)
    assert classification.prediction(SAMPLE, answered, SETTINGS).dtype == np.float32


def test_pictures_are_captioned_green_if_right_and_red_if_wrong() -> None:
    probabilities = np.array([0.1, 0.9], np.float32)
    for label, channel in ((1, 1), (0, 0)):
        picture = classification.draw(Sample("x", IMAGE, label=label), probabilities, with_classes(("cat", "dog")))
        assert picture.shape == (112, 96, 3)
        assert picture.dtype == np.uint8
        assert picture[-1, -1].argmax() == channel
    wide = np.zeros((3, 300, 3), np.uint8)
    assert classification.draw(Sample("x", wide, label=0), probabilities, with_classes(("猫" * 90, "dog"))).shape == (
        112,
        96,
        3,
    )


def test_the_confusion_matrix_shows_every_count() -> None:
    labels, probabilities = np.array([0, 0, 1]), np.eye(2, dtype=np.float32)[[0, 1, 1]]
    figure = classification.figures(table(labels, probabilities), with_classes(("a", "b")))["confusion"]
    (axes,) = figure.axes
    assert {(*text.get_position(), text.get_text()) for text in axes.texts} == {(0, 0, "1"), (1, 0, "1"), (1, 1, "1")}
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0.5, 0.5], [0, 1]])


def test_a_thousand_classes_still_make_a_figure_of_a_page() -> None:
    names = [str(number) for number in range(1000)]
    labels, probabilities = np.array([0, 999]), np.eye(1000, dtype=np.float32)[[0, 1]]
    figure = classification.figures(table(labels, probabilities), with_classes(tuple(names)))["confusion"]
    assert isinstance(figure, Figure)
    assert figure.get_size_inches().max() <= 32
