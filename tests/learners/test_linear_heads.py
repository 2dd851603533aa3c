"""Linear heads against scikit-learn's own pipelines, and what they do where classes or images are missing."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.learners import linear_heads
from pipeline.learners.linear_heads import Vectors, cross_entropy, fit

CLASSES, INPUTS = 3, 12


def vectors(number: int, seed: int, classes: int = CLASSES) -> Vectors:
    """Three overlapping clouds, whose features have different scales."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(0, 1, (classes, INPUTS))
    labels = generator.integers(0, classes, number)
    features = (centres[labels] + generator.normal(0, 1.5, (number, INPUTS))) * np.logspace(-2, 2, INPUTS) + 3
    return Vectors(features.astype(np.float32), labels)


def logits(fitted: linear_heads.Fitted, of: Vectors) -> np.ndarray:
    return of.features.astype(np.float64) @ fitted.weight.T.astype(np.float64) + fitted.bias


def accuracy(fitted: linear_heads.Fitted, of: Vectors) -> float:
    return float((logits(fitted, of).argmax(1) == of.labels).mean())


def test_logistic_regression_is_that_of_scikit_learn_on_standardised_features() -> None:
    train, val, test = (vectors(number, seed) for seed, number in enumerate((200, 100, 100)))
    fitted = fit("logistic", train, val, CLASSES)
    other = make_pipeline(StandardScaler(), LogisticRegression(C=fitted.strength, max_iter=5000))
    other.fit(train.features, train.labels)
    ours = logits(fitted, test)
    probabilities = np.exp(ours - ours.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    assert probabilities == pytest.approx(other.predict_proba(test.features), abs=5e-3)
    assert fitted.val_loss == pytest.approx(cross_entropy(logits(fitted, val), val.labels), abs=1e-4)


def test_val_chooses_the_penalty() -> None:
    """No penalty of the list fits val better, and train alone would have chosen another."""
    train, val = vectors(40, 0), vectors(400, 1)
    fitted = fit("logistic", train, val, CLASSES)
    scores = {}
    for strength in linear_heads.STRENGTHS:
        other = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000))
        other.fit(train.features, train.labels)
        scores[strength] = cross_entropy(other.decision_function(val.features), val.labels)
    assert min(scores, key=lambda strength: scores[strength]) == fitted.strength
    assert fitted.strength < max(linear_heads.STRENGTHS)
    assert fit("logistic", train, train, CLASSES).strength > fitted.strength


@pytest.mark.parametrize("head", ["logistic", "ridge", "svm"])
def test_each_head_learns_and_its_probabilities_beat_those_of_frequencies(head: linear_heads.Head) -> None:
    train, val, test = (vectors(number, seed) for seed, number in enumerate((300, 150, 300)))
    fitted = fit(head, train, val, CLASSES)
    assert accuracy(fitted, test) > 0.6
    assert cross_entropy(logits(fitted, test), test.labels) < 0.9 * np.log(CLASSES)


@pytest.mark.parametrize("head", ["logistic", "ridge", "svm"])
def test_two_classes_and_one_without_an_example(head: linear_heads.Head) -> None:
    train, val = vectors(120, 0, classes=2), vectors(60, 1, classes=2)
    fitted = fit(head, train, val, CLASSES)
    assert fitted.weight.shape == (CLASSES, INPUTS)
    assert accuracy(fitted, val) > 0.7
    assert logits(fitted, val)[:, 2].max() < logits(fitted, val)[:, :2].max()
    assert set(logits(fitted, val).argmax(1)) <= {0, 1}


def test_weights_of_classes_move_the_border() -> None:
    train, val = vectors(200, 0), vectors(100, 1)
    plain, weighted = (fit("logistic", train, val, CLASSES, weights) for weights in (None, [1, 1, 20]))
    predicted = [int((logits(fitted, val).argmax(1) == 2).sum()) for fitted in (plain, weighted)]
    assert predicted[1] > predicted[0]


def test_a_constant_feature_and_no_val_are_no_errors() -> None:
    train = vectors(60, 0)
    train.features[:, 0] = 5
    nothing = Vectors(train.features[:0], train.labels[:0])
    fitted = fit("ridge", train, nothing, CLASSES)
    assert np.isfinite(fitted.weight).all()
    assert np.isnan(fitted.val_loss)
