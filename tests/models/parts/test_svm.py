"""Fitting without gradient: regressions are scikit-learn's, and mined SVMs are as good as those of all negatives."""

import warnings

import numpy as np
import torch
from sklearn.linear_model import Ridge as TheirRidge
from sklearn.svm import LinearSVC
from torch import Tensor

from pipeline.models.parts import svm
from pipeline.models.parts.svm import (
    INTERCEPT_SCALING,
    MEAN_NORM,
    POSITIVE_WEIGHT,
    C,
    HardNegativeMining,
    Margins,
    Ridge,
    RidgeFitting,
    fit_ridge,
)


def random_normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_regression_is_the_ridge_of_scikit_learn() -> None:
    inputs, targets = 3 * random_normal(0, 60, 12) + 1, random_normal(1, 60, 4) + 2
    weight, bias = fit_ridge(inputs, targets, penalty=10.0)
    theirs = TheirRidge(alpha=10.0).fit(inputs.double().numpy(), targets.double().numpy())
    np.testing.assert_allclose(weight, theirs.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(bias, theirs.intercept_, rtol=1e-6)
    assert np.abs(fit_ridge(inputs, targets, penalty=100.0)[0] - theirs.coef_).max() > 0.01


def test_regressions_are_by_class_and_of_scaled_features() -> None:
    ridge = Ridge(5, 3)
    regressions = RidgeFitting(ridge)
    inputs, targets = random_normal(2, 80, 5), random_normal(3, 80, 4)
    labels = torch.arange(80) % 3 - 1  # none, class 0, class 1
    regressions.add(inputs[:40], labels[:40], targets[:40])
    regressions.add(inputs[40:], labels[40:], targets[40:])
    regressions.finish()
    scale = MEAN_NORM / inputs[:40].norm(dim=1).mean()
    torch.testing.assert_close(ridge.scale, scale)
    theirs = TheirRidge(alpha=1000).fit(scale * inputs[labels == 1], targets[labels == 1])
    with torch.no_grad():
        np.testing.assert_allclose(ridge(inputs)[:, 1], theirs.predict(scale * inputs), rtol=1e-3, atol=1e-4)
        assert not ridge(inputs)[:, 2].any()


def svm_objective(weight: Tensor, bias: float, features: Tensor, signs: Tensor) -> float:
    """The objective of a linear SVM; the bias is the weight of a constant feature."""
    violations = (1 - signs * (features @ weight + bias)).clamp(min=0) * torch.where(signs > 0, POSITIVE_WEIGHT, 1.0)
    return float((weight.square().sum() + (bias / INTERCEPT_SCALING) ** 2) / 2 + C * violations.sum())


def test_mined_negatives_are_as_good_as_all_of_them() -> None:
    """Six batches of 1,500, so that three fits lie between; the other class has no example."""
    features = random_normal(4, 9000, 6) * 8
    positive = torch.arange(9000) % 45 == 0
    features[positive, 0] += 20
    margins = Margins(6, 2)
    mining = HardNegativeMining(margins)
    labels = torch.stack([positive, torch.zeros_like(positive)], 1)
    for start in range(0, 9000, 1500):
        part = slice(start, start + 1500)
        mining.add(features[part], labels[part], ~labels[part])
    kept = sum(map(len, mining.negative[0]))
    mining.finish()
    assert kept < 6000  # easy ones were dropped
    scaled, signs = features * margins.scale, torch.where(positive, 1.0, -1.0)
    theirs = LinearSVC(
        loss="hinge",
        C=C,
        class_weight={1: POSITIVE_WEIGHT},
        intercept_scaling=INTERCEPT_SCALING,
        max_iter=20_000,
        random_state=0,
    ).fit(scaled.numpy(), positive.numpy())
    best = svm_objective(torch.from_numpy(theirs.coef_[0]).float(), float(theirs.intercept_[0]), scaled, signs)
    mined = svm_objective(margins.weight[0], float(margins.bias[0]), scaled, signs)
    assert mined < 1.01 * best
    assert svm_objective(torch.zeros(6), 0.0, scaled, signs) > 1.5 * best
    assert margins(features)[:, 1].max() == svm.ABSENT_MARGIN


def test_a_served_model_needs_no_scikit_learn() -> None:
    import subprocess
    import sys

    code = "import sys; sys.modules['sklearn'] = None; import torch; from pipeline.models import rcnn; "
    code += "from pipeline.models.parts import svm; "
    code += "print(svm.Margins(3, 2)(torch.ones(1, 3)).tolist())"
    with warnings.catch_warnings():
        mined = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert mined.stdout.strip() == "[[0.0, 0.0]]"
