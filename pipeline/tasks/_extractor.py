"""What another job's classifier makes of images: what its last layer reads of them, and which classes it sees."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pipeline.models._features import inputs
from pipeline.models._spec import anatomy
from pipeline.tasks._learner import Learner

LUMINANCE = (0.299, 0.587, 0.114)
Floats = NDArray[np.float32]


def head(extractor: Learner) -> str | None:
    """The name of its last layer; None where it is no classifier."""
    return anatomy(extractor.network).head


def seen(extractor: Learner, images: Tensor) -> tuple[Floats, Floats]:
    """B×C×S×S uint8 → features B×D and probabilities of classes B×K, of images in its own channels and size."""
    wanted, values = extractor.settings, images.float()
    if wanted.channels < values.shape[1]:
        values = (values * torch.tensor(LUMINANCE, device=values.device).view(1, 3, 1, 1)).sum(1, keepdim=True)
    values = values.expand(-1, wanted.channels, -1, -1)
    if wanted.size != values.shape[-1]:
        values = F.interpolate(values, (wanted.size, wanted.size), mode="bilinear", antialias=True)
    with (
        inputs(extractor.network, str(head(extractor))) as read,
        torch.no_grad(),
        torch.autocast(images.device.type, enabled=False),
    ):  # the same numbers in training as on the CPU
        logits = extractor.network(extractor.normalise(values.round().clamp(0, 255)))
    features, shares = (found.float().cpu().numpy() for found in (read[0], logits.softmax(dim=1)))
    return np.asarray(features, np.float32), np.asarray(shares, np.float32)
