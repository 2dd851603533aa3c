"""R-CNN's linear SVMs and box regressions: fitted on a detector's features, not trained by gradient.

Girshick 2014, https://arxiv.org/abs/1311.2524, section 2.3 and appendix C, with the constants of its program
(https://github.com/rbgirshick/rcnn): features are scaled to a mean norm of 20, so that C and λ mean the same for every
network. Hard negatives are mined in one pass, as there.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

#: mean norm of features to which the constants below apply
MEAN_NORM = 20.0
#: SVMs: C, weight of positives, intercept scaling (the bias is regularised like all weights)
C, POSITIVE_WEIGHT, INTERCEPT_SCALING = 1e-3, 2.0, 10.0
#: a negative is kept if its margin is above the first and dropped if it is below the second after a fit; the SVM is
#: fitted again after as many new hard negatives as the third
HARD_MARGIN, EASY_MARGIN, RETRAIN_AFTER = -1.0001, -1.2, 2000
#: regressions: λ, the weight of the L2 penalty
RIDGE_LAMBDA = 1000.0
#: margin of a class without examples
ABSENT_MARGIN = -20.0


class Linear(nn.Module):
    """A linear function of features N×D → N×…; it scales them to a mean norm of 20. All state is buffers."""

    weight: Tensor
    bias: Tensor
    scale: Tensor

    def __init__(self, inputs: int, *shape: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(*shape, inputs))
        self.register_buffer("bias", torch.zeros(shape))
        self.register_buffer("scale", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Features N×D → weighted sums plus bias."""
        return (features * self.scale) @ self.weight.flatten(0, -2).mT + self.bias.flatten()

    def scale_features(self, features: Tensor) -> Tensor:
        """Scale training features; the first call sets the scale."""
        if not self.scale:
            self.scale.copy_(MEAN_NORM / features.norm(dim=1).mean().clamp(min=1e-6))
        return features * self.scale


class Margins(Linear):
    """K support vector machines: features N×D → margins N×K."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(inputs, classes)


class Ridge(Linear):
    """K ridge regressions of four box deltas: features N×E → N×K×4."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(inputs, classes, 4)

    def forward(self, features: Tensor) -> Tensor:
        """Features N×E → box deltas per class N×K×4."""
        return super().forward(features).view(len(features), -1, 4)


class HardNegativeMining:
    """Trains SVMs in one pass over the examples; it keeps all positives and the hard negatives."""

    def __init__(self, margins: Margins) -> None:
        self.margins = margins
        self.positive: list[list[Tensor]] = [[] for _ in margins.bias]
        self.negative: list[list[Tensor]] = [[] for _ in margins.bias]
        self.new_negatives = [0] * len(margins.bias)

    def add(self, features: Tensor, positive: Tensor, negative: Tensor) -> None:
        """Add features N×D; masks N×K say of which classes each is a positive and of which a negative example."""
        scaled = self.margins.scale_features(features)
        hard = negative & (self.margins(features) > HARD_MARGIN)
        for index in range(len(self.new_negatives)):
            self.positive[index].append(scaled[positive[:, index]])
            self.negative[index].append(scaled[hard[:, index]])
            self.new_negatives[index] += int(hard[:, index].sum())
            if self.new_negatives[index] >= RETRAIN_AFTER and any(map(len, self.positive[index])):
                self._fit_class(index)
                kept = torch.cat(self.negative[index])
                margins = kept @ self.margins.weight[index] + self.margins.bias[index]
                self.negative[index], self.new_negatives[index] = [kept[margins >= EASY_MARGIN]], 0

    def finish(self) -> None:
        """Fit every class on the examples kept."""
        for index in range(len(self.new_negatives)):
            self._fit_class(index)

    def _fit_class(self, index: int) -> None:
        positive, negative = ([part for part in kept[index] if len(part)] for kept in (self.positive, self.negative))
        if not positive or not negative:
            self.margins.bias[index] = -ABSENT_MARGIN if positive else ABSENT_MARGIN
            return
        weight, bias = fit_svm(torch.cat(positive), torch.cat(negative))
        self.margins.weight[index], self.margins.bias[index] = weight.to(self.margins.weight), bias


def fit_svm(positive: Tensor, negative: Tensor) -> tuple[Tensor, float]:
    """Positives N×D and negatives M×D → weights D and bias of scikit-learn's linear SVM (liblinear, hinge loss)."""
    from sklearn.svm import LinearSVC

    svm: Any = LinearSVC(
        loss="hinge",
        C=C,
        class_weight={1: POSITIVE_WEIGHT},
        intercept_scaling=INTERCEPT_SCALING,
        max_iter=20_000,
        random_state=0,
    )
    labels = np.repeat([1, 0], [len(positive), len(negative)])
    svm.fit(torch.cat([positive, negative]).double().cpu().numpy(), labels)
    return torch.from_numpy(svm.coef_[0]), float(svm.intercept_[0])


class RidgeFitting:
    """Collects pairs of features and box deltas per class, and fits a ridge regression of each class."""

    def __init__(self, ridge: Ridge) -> None:
        self.ridge = ridge
        self.pairs: list[tuple[list[Tensor], list[Tensor]]] = [([], []) for _ in ridge.bias]

    def add(self, features: Tensor, labels: Tensor, deltas: Tensor) -> None:
        """Add features N×E, classes N (−1: none) and target deltas N×4."""
        scaled = self.ridge.scale_features(features)
        for index, (inputs, targets) in enumerate(self.pairs):
            inputs.append(scaled[labels == index])
            targets.append(deltas[labels == index])

    def finish(self) -> None:
        """Fit every class; a class without examples keeps zeros, which leave boxes as they are."""
        for index, (inputs, targets) in enumerate(self.pairs):
            if any(map(len, inputs)):
                weight, bias = fit_ridge(torch.cat(inputs), torch.cat(targets))
                self.ridge.weight[index], self.ridge.bias[index] = (
                    weight.to(self.ridge.weight),
                    bias.to(self.ridge.bias),
                )


def fit_ridge(inputs: Tensor, targets: Tensor, penalty: float = RIDGE_LAMBDA) -> tuple[Tensor, Tensor]:
    """Inputs N×E and targets N×4 → weights 4×E and biases 4 that minimise Σ error² + λ · Σ weight².

    Girshick's program whitens the targets first; the solution is linear in the targets, so that changes nothing.
    """
    x, y = inputs.double(), targets.double()
    means = x.mean(0), y.mean(0)
    centred = x - means[0]
    penalties = penalty * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight = torch.linalg.solve(centred.mT @ centred + penalties, centred.mT @ (y - means[1])).mT
    return weight, means[1] - weight @ means[0]
