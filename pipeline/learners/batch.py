"""Stacks the images of samples into one batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline import images
from pipeline.sample import Sample


def stack(samples: Sequence[Sample], channels: int) -> Tensor:
    """Equal-sized images as uint8 B×C×H×W; luminance if `channels` is 1."""
    if channels == 1:
        return torch.from_numpy(np.stack([images.luminance(sample.pixels) for sample in samples]))[:, None]
    return torch.from_numpy(np.stack([sample.pixels for sample in samples])).permute(0, 3, 1, 2).contiguous()
