"""evaluate's rows of a stored split beside the bare forward of as many images that are decoded, scaled and batched."""

import tempfile
from pathlib import Path

from benchmarks.parts import ratios, trained
from pipeline import checkpoint, device
from pipeline.evaluate import predict

TITLE = "a bare batched forward, ResNet-50 at 224²; ours rows of 64 stored JPEGs, 500×375"
NEEDS = ()


def measure() -> ratios.Ratio:
    """The same network on both sides, on the device that evaluate takes."""
    with tempfile.TemporaryDirectory() as folder:
        learner, description = checkpoint.load(trained.stored_model(Path(folder) / "model"), device.choose())
        stored = trained.stored_images(Path(folder) / "test-0.arrow")
        ask = predict.predictor(learner, description["task"])
        return ratios.ratio(
            lambda: predict.rows(ask, stored, description["task"], keep=0), trained.bare_forward(learner), 5
        )
