"""mIoU beside torchmetrics: confusion matrices of 8 label maps, 375×500 with 21 classes and void, and their mean IoU.

torchmetrics is timed with its validation of arguments off, which is its faster way.
"""

import numpy as np
import pyarrow as pa
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from benchmarks.parts import ratios
from pipeline.learners.base import Settings
from pipeline.metrics import miou
from pipeline.sample import IGNORE
from pipeline.tasks import segmentation

TITLE = "torchmetrics' JaccardIndex without validation: mIoU of 8 label maps, 375×500, 21 classes"
NEEDS = ("torchmetrics",)
MAPS, HEIGHT, WIDTH, CLASSES = 8, 375, 500, 21


def measure() -> ratios.Ratio:
    """The same mIoU on both sides, from label maps in each side's own type."""
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    truths = generator.integers(0, CLASSES, (MAPS, HEIGHT, WIDTH), dtype=np.uint8)
    guesses = np.where(generator.random(truths.shape) < 0.7, truths, generator.integers(0, CLASSES, truths.shape))
    guesses = guesses.astype(np.uint8)
    truths[generator.random(truths.shape) < 0.05] = IGNORE
    settings = Settings((), tuple(map(str, range(CLASSES))), (), 3, WIDTH, (0.5,) * 3, (0.5,) * 3)
    tensors = torch.from_numpy(guesses).long(), torch.from_numpy(truths).long()

    def ours() -> float:
        matrices = [miou.confusion(*pair, CLASSES) for pair in zip(truths, guesses, strict=True)]
        rows = [{"confusion": matrix.ravel().tolist(), "boundary": [None] * CLASSES} for matrix in matrices]
        return segmentation.scorer(pa.Table.from_pylist(rows), settings)(np.ones(MAPS, np.int64))["mIoU"]

    def peer() -> float:
        metric = MulticlassJaccardIndex(CLASSES, ignore_index=IGNORE, validate_args=False)
        for guess, truth in zip(*tensors, strict=True):
            metric.update(guess, truth)
        return float(metric.compute())

    assert abs(ours() - peer()) < 1e-5
    return ratios.ratio(ours, peer)
