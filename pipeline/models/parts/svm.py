"""Linear functions of a detector's features that are fitted, not learnt by gradient: R-CNN's SVMs and box regressions.

Girshick 2014, https://arxiv.org/abs/1311.2524, section 2.3 and appendix C, with the constants of its program
(https://github.com/rbgirshick/rcnn): features are scaled to a mean length of 20, so that C and λ mean the same whatever
the network. Hard negatives are mined in one pass, as there.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

#: mean length of the features that constants are for
LENGTH = 20.0
#: of the SVMs: the price of a margin that is broken, how much dearer that of a positive one is, and the constant
#: feature that stands for the bias, which is regularised like all others
PRICE, POSITIVE, CONSTANT = 1e-3, 2.0, 10.0
#: margins above which a negative is hard and kept, and below which it is let go; new ones after which one starts anew
HARD, EASY, FRESH = -1.0001, -1.2, 2000
#: of the regressions: the price of large weights
RIDGE = 1000.0
#: the margin of a class that is nowhere
NOWHERE = -20.0


class Linear(nn.Module):
    """Features N×D → N×…, of features scaled to a mean length of 20; all buffers."""

    weight: Tensor
    bias: Tensor
    scale: Tensor

    def __init__(self, inputs: int, *shape: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(*shape, inputs))
        self.register_buffer("bias", torch.zeros(shape))
        self.register_buffer("scale", torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Weighted sums."""
        return (features * self.scale) @ self.weight.flatten(0, -2).mT + self.bias.flatten()

    def taken(self, features: Tensor) -> Tensor:
        """Features to learn from, at the length that the weights are for, which those that come first decide."""
        if not self.scale:
            self.scale.copy_(LENGTH / features.norm(dim=1).mean().clamp(min=1e-6))
        return features * self.scale


class Margins(Linear):
    """K support vector machines: N×D → N×K margins."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(inputs, classes)


class Ridge(Linear):
    """K regressions of four numbers: N×E → N×K×4."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(inputs, classes, 4)

    def forward(self, features: Tensor) -> Tensor:
        """Told boxes by class."""
        return super().forward(features).view(len(features), -1, 4)


class Mining:
    """Trains SVMs from examples that come once: all positives are kept, and the negatives that are hard."""

    def __init__(self, margins: Margins) -> None:
        self.margins = margins
        self.positive: list[list[Tensor]] = [[] for _ in margins.bias]
        self.negative: list[list[Tensor]] = [[] for _ in margins.bias]
        self.fresh = [0] * len(margins.bias)

    def see(self, features: Tensor, shows: Tensor, hides: Tensor) -> None:
        """N×D features, N×K: those that are of a class, and N×K: those that are surely not."""
        scaled = self.margins.taken(features)
        hard = hides & (self.margins(features) > HARD)
        for place in range(len(self.fresh)):
            self.positive[place].append(scaled[shows[:, place]])
            self.negative[place].append(scaled[hard[:, place]])
            self.fresh[place] += int(hard[:, place].sum())
            if self.fresh[place] >= FRESH and any(map(len, self.positive[place])):
                self._solve(place)
                kept = torch.cat(self.negative[place])
                margins = kept @ self.margins.weight[place] + self.margins.bias[place]
                self.negative[place], self.fresh[place] = [kept[margins >= EASY]], 0

    def end(self) -> None:
        """The last solution of each class."""
        for place in range(len(self.fresh)):
            self._solve(place)

    def _solve(self, place: int) -> None:
        ours, others = ([part for part in side[place] if len(part)] for side in (self.positive, self.negative))
        if not ours or not others:
            self.margins.bias[place] = -NOWHERE if ours else NOWHERE
            return
        weight, bias = separated(torch.cat(ours), torch.cat(others))
        self.margins.weight[place], self.margins.bias[place] = weight.to(self.margins.weight), bias


def separated(positive: Tensor, negative: Tensor) -> tuple[Tensor, float]:
    """N×D and M×D → D weights and the bias of the linear SVM of hinge loss (scikit-learn's, which is liblinear's)."""
    from sklearn.svm import LinearSVC

    machine: Any = LinearSVC(
        loss="hinge",
        C=PRICE,
        class_weight={1: POSITIVE},
        intercept_scaling=CONSTANT,
        max_iter=20_000,
        random_state=0,
    )
    answers = np.repeat([1, 0], [len(positive), len(negative)])
    machine.fit(torch.cat([positive, negative]).double().cpu().numpy(), answers)
    return torch.from_numpy(machine.coef_[0]), float(machine.intercept_[0])


class Pairs:
    """Trains regressions from pairs of features and what they should tell."""

    def __init__(self, ridge: Ridge) -> None:
        self.ridge = ridge
        self.seen: list[tuple[list[Tensor], list[Tensor]]] = [([], []) for _ in ridge.bias]

    def see(self, features: Tensor, labels: Tensor, told: Tensor) -> None:
        """N×E features, N classes (−1: of none), N×4 told."""
        scaled = self.ridge.taken(features)
        for place, (inputs, wanted) in enumerate(self.seen):
            inputs.append(scaled[labels == place])
            wanted.append(told[labels == place])

    def end(self) -> None:
        """The solution of each class; one without examples corrects nothing."""
        for place, (inputs, wanted) in enumerate(self.seen):
            if any(map(len, inputs)):
                weight, bias = regressed(torch.cat(inputs), torch.cat(wanted))
                self.ridge.weight[place], self.ridge.bias[place] = (
                    weight.to(self.ridge.weight),
                    bias.to(self.ridge.bias),
                )


def regressed(inputs: Tensor, wanted: Tensor, price: float = RIDGE) -> tuple[Tensor, Tensor]:
    """N×E and N×4 → 4×E weights and 4 biases that minimise Σ (error)² + price · Σ weight².

    The program whitens what is wanted first, which changes no solution: it is linear in it.
    """
    x, y = inputs.double(), wanted.double()
    means = x.mean(0), y.mean(0)
    centred = x - means[0]
    prices = price * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight = torch.linalg.solve(centred.mT @ centred + prices, centred.mT @ (y - means[1])).mT
    return weight, means[1] - weight @ means[0]
