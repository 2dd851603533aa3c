"""Overlay: the objects of a second image pasted onto the first, or the second image blended in.

An image with a label keeps its label, and the second image is blended in faintly (SamplePairing, Inoue 2018,
https://arxiv.org/abs/1801.02929). Else each object of the second image is pasted with its annotation, with probability
`fraction` (Simple Copy-Paste, Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177); an object without a mask is pasted
as its box. With a label map only, each of its ids is pasted so (ClassMix, Olsson et al. 2021,
https://arxiv.org/abs/2007.07936). Covered annotations are removed; covered keypoints become hidden.
"""

import dataclasses

import numpy as np

from pipeline.augment.transforms import Mixing
from pipeline.augment.transforms.parts.affine import within
from pipeline.augment.transforms.parts.objects import pasted, pasted_objects
from pipeline.sample import IGNORE, Sample

OTHERS = 1


class _Overlay:
    def __init__(self, opacity: float, probability: float, p: float) -> None:
        self.opacity, self.probability, self.p = opacity, probability, p

    def apply(self, sample: Sample, other: Sample, generator: np.random.Generator, classes: int) -> Sample:
        """Blend if the image has a label; else paste if both have the same annotations; else return the sample."""
        if sample.label is not None:
            opacity = generator.uniform(0, self.opacity)
            pixels = (1 - opacity) * sample.pixels.astype(np.float32) + opacity * other.pixels
            return dataclasses.replace(sample, image=np.rint(pixels).astype(np.uint8))
        if sample.boxes is not None and other.boxes is not None:
            chosen = np.flatnonzero(generator.random(len(other.boxes)) < self.probability)
            return pasted_objects(sample, other, chosen)
        if sample.semantic is not None and other.semantic is not None:
            ids = np.setdiff1d(other.semantic, [IGNORE])
            chosen = ids[generator.random(len(ids)) < self.probability]
            return dataclasses.replace(sample, **pasted(sample, other, np.isin(other.semantic, chosen)))
        return sample


def build(*, opacity: float = 0.3, fraction: float = 0.5, p: float = 0.5) -> Mixing:
    """Blend at an opacity uniform in 0..`opacity`; paste objects or ids with probability `fraction` each."""
    within(0, 1, opacity=opacity, fraction=fraction, p=p)
    return _Overlay(opacity, fraction, p)
