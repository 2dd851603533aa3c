"""A served model's answer to a request of 64 images beside the bare forward of as many that are decoded and scaled."""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from benchmarks.parts import ratios, trained
from pipeline.register.predictor import Predictor

TITLE = "a bare batched forward, ResNet-50 at 224²; ours a request of 64 JPEGs, 500×375, answered"
NEEDS = ()


def measure() -> ratios.Ratio:
    """The same network on both sides, as MLflow's server holds it, without the transfer of the request."""
    with tempfile.TemporaryDirectory() as folder:
        served = Predictor()
        model = trained.stored_model(Path(folder) / "model")
        served.load_context(SimpleNamespace(artifacts={"model": str(model)}))
        request = pd.DataFrame({"image": trained.jpegs()})
        bare = trained.bare_forward(served.predictor.learner)
        return ratios.ratio(lambda: served.predict(None, request), bare, 5)
