"""Stacks the images of samples into one batch."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from pipeline import images
from pipeline.sample import Sample


def stack(samples: Sequence[Sample], channels: int) -> Tensor:
    """Equal-sized images as uint8 B×C×H×W; luminance if `channels` is 1."""
    if channels == 1:
        return torch.from_numpy(np.stack([images.luminance(sample.pixels) for sample in samples]))[:, None]
    shape = samples[0].pixels.shape
    planes = np.empty((len(samples), shape[2], *shape[:2]), np.uint8)
    for sample, out in zip(samples, planes, strict=True):
        cv2.split(sample.pixels, list(out))  # a tenth of the time of a transposed copy
    return torch.from_numpy(planes)
