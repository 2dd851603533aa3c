"""Augmentation beside torchvision's v2 transforms: one recipe, 224×224, one thread, both bilinear.

The peer moves its pixels in one warp too (RandomAffine), and takes each side's own layout: H×W×3 here, 3×H×W there.
"""

from typing import Any

import cv2
import numpy as np
import torch
from torchvision.transforms import v2

from benchmarks.parts import ratios, sample_data
from pipeline.augment.policy import Policy
from pipeline.sample import Sample

TITLE = "torchvision v2: flip, shift, rotation, scale and contrast of 64 images, 224×224"
NEEDS = ()
IMAGES, SIDE = 64, 224


def measure() -> ratios.Ratio:
    """64 images on both sides."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    pixels = sample_data.photographs(IMAGES, SIDE, SIDE)
    samples = [Sample(str(number), image, label=0) for number, image in enumerate(pixels)]
    tensors = [torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in pixels]
    moves: list[dict[str, dict[str, Any]]] = [{"horizontal_flip": {}}, {"shift": {"limit": 0.1}}]
    moves += [{"rotation": {"degrees": 15}}, {"scale": {"limit": 0.1}}]
    policy = Policy([*moves, {"contrast": {"limit": 0.2, "p": 1.0}}])
    affine = {"translate": (0.1, 0.1), "scale": (0.9, 1.1), "interpolation": v2.InterpolationMode.BILINEAR}
    theirs = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomAffine(15, **affine), v2.ColorJitter(contrast=0.2)])

    def ours() -> None:
        for number, item in enumerate(samples):
            assert policy(item, number).pixels.dtype == np.uint8

    def peer() -> None:
        for tensor in tensors:
            assert theirs(tensor).dtype == torch.uint8

    return ratios.ratio(ours, peer)
