"""Linear heads for features that do not change: logistic regression, ridge regression, linear support vector machines.

Features are standardised by the train split, and the strength of the penalty is the one whose probabilities fit val
best (least cross-entropy). A ridge regression and SVMs have no probabilities of their own: their scores are multiplied
by a temperature, which val chooses, too (Guo et al. 2017, https://arxiv.org/abs/1706.04599). The solvers are
scikit-learn's.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Head = Literal["logistic", "ridge", "svm"]

#: penalties from strong to weak: C of logistic regression and SVMs, 1/λ of ridge regression
STRENGTHS = tuple(10.0 ** (exponent / 2) for exponent in range(-10, 5))
#: so many weaker penalties one after the other, each of which fits val so much worse than the best, end the search
WORSE, MARGIN = 2, 1.01
TEMPERATURES = tuple(10.0 ** (exponent / 10) for exponent in range(-10, 61))
#: logit of a class without an example
ABSENT = -20.0
MAX_STEPS = 2000


@dataclass(frozen=True)
class Vectors:
    """Features N×D of a split's images, and their classes N."""

    features: Floats
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """Logits are `features @ weight.T + bias`; the penalty that val chose, and mean cross-entropies in nats."""

    weight: Floats
    bias: Floats
    strength: float
    train_loss: float
    val_loss: float


def fit(head: Head, train: Vectors, val: Vectors, classes: int, weights: Sequence[float] | None = None) -> Fitted:
    """The head whose penalty fits val best.

    Args:
        head: which one.
        train, val: features and classes; where val is empty, the penalty in the middle is taken.
        classes: their number K; one without an example in train is never predicted.
        weights: of each class in the loss, by default 1.
    """
    mean, deviation = train.features.mean(0), train.features.std(0)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0).astype(np.float32)
    inputs, held_out = ((part.features - mean) * scale for part in (train, val))
    present, targets = np.unique(train.labels, return_inverse=True)
    by_class = None if weights is None else {at: float(weights[name]) for at, name in enumerate(present)}

    def completed(strength: float) -> Fitted:
        own_weight, own_bias = SOLVERS[head](inputs, targets, strength, by_class)
        weight, bias = np.zeros((classes, inputs.shape[1])), np.full(classes, ABSENT)
        weight[present], bias[present] = own_weight, own_bias
        if head != "logistic":
            factor = _temperature(held_out @ weight.T + bias, val.labels)
            weight[present], bias[present] = own_weight * factor, own_bias * factor
        losses = [cross_entropy(part @ weight.T + bias, of.labels) for part, of in ((inputs, train), (held_out, val))]
        outer = weight * scale
        return Fitted(outer.astype(np.float32), (bias - outer @ mean).astype(np.float32), strength, *losses)

    if not len(val.labels):
        return completed(STRENGTHS[len(STRENGTHS) // 2])
    return _best(map(completed, STRENGTHS))


def cross_entropy(logits: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Mean cross-entropy in nats of logits N×K; nan where there is no image."""
    if not len(labels):
        return float("nan")
    shifted = logits - logits.max(1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]))


def _best(candidates: Iterator[Fitted]) -> Fitted:
    best, worse = next(candidates), 0
    for candidate in candidates:
        worse = worse + 1 if candidate.val_loss > MARGIN * best.val_loss else 0
        best = min(best, candidate, key=lambda fitted: fitted.val_loss)
        if worse == WORSE:
            break
    return best


def _temperature(scores: NDArray[Any], labels: NDArray[np.int64]) -> float:
    if not len(labels):
        return 1.0
    return min(TEMPERATURES, key=lambda factor: cross_entropy(scores * factor, labels))


def _logistic(inputs: Floats, targets: NDArray[Any], strength: float, weights: Any) -> tuple[Any, Any]:
    from sklearn.linear_model import LogisticRegression

    return _both(_quietly(LogisticRegression(C=strength, max_iter=MAX_STEPS, class_weight=weights), inputs, targets))


def _ridge(inputs: Floats, targets: NDArray[Any], strength: float, weights: Any) -> tuple[Any, Any]:
    from sklearn.linear_model import RidgeClassifier

    return _both(_quietly(RidgeClassifier(alpha=1 / strength, class_weight=weights), inputs, targets))


def _svm(inputs: Floats, targets: NDArray[Any], strength: float, weights: Any) -> tuple[Any, Any]:
    from sklearn.svm import LinearSVC

    machines = LinearSVC(C=strength, dual="auto", max_iter=MAX_STEPS, class_weight=weights, random_state=0)
    return _both(_quietly(machines, inputs, targets))


def _quietly(solver: Any, inputs: Floats, targets: NDArray[Any]) -> Any:
    """Fit; a weak penalty may need more steps than MAX_STEPS, and then val decides whether the result is good."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return solver.fit(inputs, targets)


def _both(solver: Any) -> tuple[Any, Any]:
    """Weights K×D and biases K; of two classes scikit-learn keeps one row, the second class's."""
    weight, bias = np.atleast_2d(solver.coef_), np.atleast_1d(solver.intercept_)
    if len(weight) > 1:
        return weight, bias
    return np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2


SOLVERS: dict[str, Callable[[Floats, NDArray[Any], float, Any], tuple[Any, Any]]] = {
    "logistic": _logistic,
    "ridge": _ridge,
    "svm": _svm,
}
