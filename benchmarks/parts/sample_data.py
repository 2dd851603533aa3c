"""What benchmarks work on: digits prepared in a folder of their own, and crops of scikit-learn's photographs."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.augment import stage as augment_stage
from pipeline.prepare import stage as prepare_stage
from pipeline.train import stage as train_stage
from pipeline.train.job_state import JobSpec

ROOT = Path(__file__).parents[2]


def digits(folder: Path, job: str, **changes: Any) -> JobSpec:
    """A job of params.yaml that trains on digits, with some settings changed, ready to train in `folder`."""
    settings = params.read(ROOT / "params.yaml")
    changed = settings.jobs[job].model_copy(update=changes)
    settings = settings.model_copy(update={"jobs": {job: changed}, "roster": [job]})
    with contextlib.redirect_stdout(io.StringIO()):
        prepare_stage.run(settings, folder)
        augment_stage.run(settings, folder)
    return train_stage.job_spec(job, changed, settings, folder)


def photographs(number: int, height: int, width: int) -> list[NDArray[np.uint8]]:
    """Crops of natural images, each height×width×3."""
    from sklearn.datasets import load_sample_images

    generator = np.random.default_rng(0)
    whole = load_sample_images().images
    crops = []
    for _ in range(number):
        image = whole[generator.integers(len(whole))]
        top = int(generator.integers(image.shape[0] - height + 1))
        left = int(generator.integers(image.shape[1] - width + 1))
        crops.append(np.ascontiguousarray(image[top : top + height, left : left + width]))
    return crops
