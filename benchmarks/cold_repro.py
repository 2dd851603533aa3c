"""What the whole of `make repro` costs beside its training alone: linear and lenet5 of params.yaml, from nothing.

Ours prepares, augments, counts, trains on Ray, evaluates with intervals, registers in MLflow and reports, each stage a
process. The peer is two bare loops over tensors in memory: the same networks, batches and epochs, unaugmented, never
validated, nothing stored.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.parts import clone, ratios, sample_data
from pipeline import shards
from pipeline.models.parts.spec import Spec, build_network
from pipeline.train.job_state import JobSpec

TITLE = "two bare training loops; ours `make repro` of linear and lenet5 on digits, from nothing"
NEEDS = ("dvc",)
JOBS = ("linear", "lenet5")


def measure() -> ratios.Ratio:
    """Three runs from nothing; emptying the clone, a part of a second, is timed with ours."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        job_specs = [sample_data.digits(Path(folder), name) for name in JOBS]

        def bare() -> None:
            for job_spec in job_specs:
                _train(job_spec)

        def cold() -> None:
            clone.clean()
            clone.ran()

        return ratios.ratio(cold, bare, pairs=3, warm=False)


def _train(job_spec: JobSpec) -> None:
    job, stored = job_spec.job, shards.split(job_spec.prepared, "train")
    pixels = torch.from_numpy(np.stack([item.pixels[..., 0] for item in stored]))[:, None].float() / 255
    images = F.interpolate(pixels, (job.size, job.size), mode="bilinear")
    labels = torch.tensor([item.label for item in stored])
    spec = Spec("classification", 10, job.channels, job.size)
    network = build_network(job.architecture, spec, job.options)
    descent = torch.optim.SGD(network.parameters(), job.lr, momentum=job.momentum, weight_decay=job.weight_decay)
    for _ in range(job.epochs):
        for chosen in torch.randperm(len(labels)).split(job.batch):
            descent.zero_grad(set_to_none=True)
            F.cross_entropy(network(images[chosen]), labels[chosen]).backward()
            descent.step()
