"""Rows and predictions do not depend on how a split is cut into batches, nor on the images' own sizes."""

import numpy as np
import pytest
import torch

from pipeline import images
from pipeline.checkpoint import build
from pipeline.evaluate import predict
from pipeline.learners.base import Learner
from pipeline.sample import Sample, resized

SIDE, CLASSES = 8, ("a", "b", "c")


@pytest.fixture(scope="module")
def learner() -> Learner:
    settings = {
        "classes": CLASSES,
        "semantic_classes": (),
        "class_counts": (1, 1, 1),
        "channels": 1,
        "size": SIDE,
        "mean": (0.5,),
        "std": (0.25,),
    }
    torch.manual_seed(0)
    description = {"task": "classification", "architecture": "linear", "options": {}, "loss": {}, "settings": settings}
    return build(description).eval()


def stored(number: int, side: int = SIDE) -> list[Sample]:
    pixels = np.random.default_rng(0).integers(0, 256, (number, side, side, 3), dtype=np.uint8)
    return [Sample(f"i{at}", pixels[at], group=f"g{at // 2}", label=at % 3) for at in range(number)]


def test_every_sample_has_its_row_in_order(learner: Learner) -> None:
    samples = stored(predict.BATCH + 3)
    table, predictions = predict.rows(predict.predictor(learner, "classification"), samples, "classification")
    assert table["id"].to_pylist() == [item.id for item in samples]
    assert table["group"].to_pylist() == [item.group for item in samples]
    assert table["label"].to_pylist() == [item.label for item in samples]
    assert table["prediction"].to_pylist() == [int(predictions[index].argmax()) for index in range(len(samples))]
    assert len(predictions) == len(samples)


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_predictions_are_kept_of_what_pictures_show(learner: Learner, keep: int) -> None:
    """So that memory does not grow with the split: some of the whole split, and the worst."""
    samples = stored(2 * predict.BATCH + 3)
    answer = predict.predictor(learner, "classification")
    table, kept = predict.rows(answer, samples, "classification", keep=keep)
    worst = np.argsort(-table["severity"].to_numpy(), kind="stable")[:keep].tolist()
    assert set(kept) == {*worst, *images.spread(len(samples), keep).tolist()}
    whole, every = predict.rows(answer, samples, "classification")
    assert table.equals(whole)
    for index, prediction in kept.items():
        np.testing.assert_array_equal(prediction, every[index])


def test_batches_change_no_prediction(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = predict.predictor(learner, "classification")
    _, whole = predict.rows(answer, stored(7), "classification")
    monkeypatch.setattr(predict, "BATCH", 2)
    _, parts = predict.rows(answer, stored(7), "classification")
    np.testing.assert_allclose([*parts.values()], [*whole.values()], rtol=1e-6)


def test_images_are_scaled_to_the_models_size(learner: Learner) -> None:
    plain = [Sample("p", np.full((side, 2 * side, 3), 90, np.uint8), label=0) for side in (SIDE, 5, 40)]
    first, *others = predict.predictor(learner, "classification")(plain)
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-5)


def test_a_large_image_is_first_scaled_as_prepare_stored_it(learner: Learner) -> None:
    large = Sample("l", np.random.default_rng(1).integers(0, 256, (1536, 1400, 3), dtype=np.uint8), label=0)
    answer = predict.predictor(learner, "classification")
    whole, kept, at_once = answer([large, resized(large, 1024, 933), resized(large, SIDE, SIDE)])
    np.testing.assert_array_equal(whole, kept)
    assert np.abs(whole - at_once).max() > 1e-6  # the control


def test_no_gradient_is_kept(learner: Learner) -> None:
    seen: list[bool] = []
    hook = learner.network.register_forward_hook(lambda _module, _inputs, output: seen.append(output.requires_grad))
    predict.predictor(learner, "classification")(stored(1))
    hook.remove()
    assert seen == [False]
