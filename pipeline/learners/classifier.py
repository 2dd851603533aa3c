"""The learner of a classifier: cross-entropy on labels or soft labels."""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.learners.base import Learner, Settings, class_weights_tensor


class Classifier(Learner):
    """Cross-entropy on labels or soft labels, also of a network's auxiliary classifiers if it has some."""

    weight: Tensor | None

    def __init__(
        self, network: nn.Module, settings: Settings, smoothing: float, weight: Tensor | None, auxiliary: float
    ) -> None:
        super().__init__(network, settings)
        self.smoothing, self.auxiliary = smoothing, auxiliary
        self.register_buffer("weight", weight, persistent=False)

    def losses(self, outputs: Tensor | tuple[Tensor, ...], targets: Tensor, phase: str) -> dict[str, Tensor]:
        """Mean cross-entropy in nats; targets are B labels or B×K soft labels.

        In training, a network with auxiliary classifiers returns a tuple: its own logits, then theirs. The sum of the
        auxiliary losses is multiplied by `auxiliary`.
        """
        logits, *auxiliary_logits = outputs if isinstance(outputs, tuple) else (outputs,)
        losses = {"cross_entropy": self._cross_entropy(logits, targets)}
        if auxiliary_logits:
            auxiliary = torch.stack([self._cross_entropy(item, targets) for item in auxiliary_logits])
            losses["auxiliary"] = self.auxiliary * auxiliary.sum()
        return losses

    def _cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        options: dict[str, Any] = {"weight": self.weight, "label_smoothing": self.smoothing}
        losses = F.cross_entropy(logits.float(), targets, **options, reduction="none")
        return losses.mean()  # over images, not over weights, so that the losses of parts of a batch add up

    def predict(self, outputs: Tensor) -> NDArray[np.float32]:
        """B×K class probabilities."""
        return np.asarray(outputs.float().softmax(dim=1).cpu().numpy(), np.float32)


def weights_by_class(settings: Settings, class_weights: Literal["balanced"] | dict[str, float] | None) -> Tensor | None:
    """Weights K of the classes; `balanced`: inverse to the class's frequency in the train split."""
    if class_weights == "balanced":
        counts = torch.tensor(settings.class_counts, dtype=torch.float32)
        return counts.sum() / (len(counts) * counts.clamp(min=1))
    return None if class_weights is None else class_weights_tensor(settings.classes, class_weights)
