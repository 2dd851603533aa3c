"""The learner of a frozen network: every image is a vector of features, and a linear head is fitted to the vectors."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.learners import linear_heads
from pipeline.learners.base import Settings
from pipeline.learners.classifier import Classifier
from pipeline.learners.frozen import Frozen
from pipeline.learners.linear_heads import Head, Vectors
from pipeline.models.parts import feature_maps
from pipeline.models.parts.spec import anatomy


class FrozenFeatures(Frozen, Classifier):
    """A classifier of which only the last layer is fitted."""

    def __init__(self, network: nn.Module, settings: Settings, head: Head, weight: Tensor | None) -> None:
        Classifier.__init__(self, network, settings, smoothing=0.0, weight=weight, auxiliary=0.0)
        if head not in linear_heads.SOLVERS:
            raise UserError(f"loss.head: {head!r} is none of {', '.join(linear_heads.SOLVERS)}")
        self.head, self.last = head, str(anatomy(network).head)

    def features(self, images: Tensor) -> Tensor:
        """uint8 images B×C×S×S → B×D, what the last layer reads."""
        with feature_maps.inputs(self.network, self.last) as recorded:
            self.network(self.normalize(images))
        return recorded[0].float()

    def fit_head(self, train: Vectors, val: Vectors) -> str:
        """Fit the last layer; says which penalty val chose, and how well the head fits."""
        weights = None if self.weight is None else self.weight.tolist()
        fitted = linear_heads.fit(self.head, train, val, len(self.settings.classes), weights)
        layer: Any = self.network.get_submodule(self.last)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(fitted.weight))
            layer.bias.copy_(torch.from_numpy(fitted.bias))
        strength = np.format_float_positional(fitted.strength, 2, fractional=False, trim="-")
        losses = f"cross-entropy train {fitted.train_loss:.3f}, val {fitted.val_loss:.3f}"
        return f"{self.head} head, C {strength} by val, {losses}"
