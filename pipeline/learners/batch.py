"""Images of samples as one batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline import images
from pipeline.sample import Sample


def stack(samples: Sequence[Sample], channels: int) -> Tensor:
    """Equal-sized images as uint8 B×C×H×W; luminance where the network sees one channel."""
    if channels == 1:
        return torch.from_numpy(np.stack([images.luminance(sample.pixels) for sample in samples]))[:, None]
    return torch.from_numpy(np.stack([sample.pixels for sample in samples])).permute(0, 3, 1, 2).contiguous()
