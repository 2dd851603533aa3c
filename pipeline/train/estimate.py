"""How long a job will take on this machine, measured by a few steps of it before it is trained.

Expected seconds lie in `.work/expected.json`, so that the train stage tells them before, and compares afterwards.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import plugins, sample, shards, store
from pipeline.augment.fit import Fit
from pipeline.params import Job, Transforms

FILE = ".work/expected.json"
#: images that are measured with, of a batch at most, and seconds for which steps are measured
IMAGES, BATCH, SECONDS = 32, 16, 3.0


def seconds(job: Job, online: Transforms, prepared: Path, threads: int = 1) -> float:
    """Seconds of all epochs with their validations, or of the features of a job that has none.

    Args:
        job: as it will be trained.
        online: the transforms of its policy.
        prepared: the folder of its data set.
        threads: that it will have.
    """
    import torch

    from pipeline import checkpoint
    from pipeline.learners.frozen import Frozen
    from pipeline.train import loader, view

    facts, task = sample.facts(prepared), plugins.load("tasks", job.task)
    stored = shards.split(prepared, "train")
    begins = view.start(job, online, "train")
    fitted = [begins.begin(stored[index]) for index in range(min(IMAGES, len(stored)))]
    fit = Fit(job.size, job.fit)
    options: dict[str, Any] = {"classes": len(facts.classes), "keypoints": facts.keypoints}
    augmented, plain = (loader.Samples(fitted, fit, policy=policy, **options) for policy in (online, []))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            learner = checkpoint.build(checkpoint.describe(job, facts))
            parameters = [parameter for phase in learner.phases for parameter in phase.parameters]
            optimizer = torch.optim.SGD(parameters, lr=1e-6) if parameters else None

            def batch(samples: loader.Samples, number: int) -> Any:
                size = min(BATCH, job.batch, len(fitted))
                keys = [(number, (number * size + at) % len(fitted)) for at in range(size)]
                return task.collate([samples[key] for key in keys], learner.settings)

            def train(number: int) -> int:
                images, targets = batch(augmented, number)
                for phase in learner.phases:
                    torch.stack(list(learner(images, targets, phase.name).values())).sum().backward()
                if optimizer is not None:
                    optimizer.step()
                    optimizer.zero_grad()
                return len(images)

            def predict(number: int) -> int:
                images, targets = batch(plain, number)
                with torch.inference_mode():
                    learner.predict_batch(images, targets)
                return len(images)

            train_s = _per_image(train) if job.epochs else 0.0
            learner.eval()
            predict_s = _per_image(predict)
    finally:
        torch.set_num_threads(before)
    counts = facts.counts
    if isinstance(learner, Frozen):
        return (counts["train"] + counts["val"]) * predict_s
    return job.epochs * (counts["train"] * train_s + counts["val"] * predict_s)


def _per_image(step: Callable[[int], int]) -> float:
    """Seconds an image of the fastest of a few steps, after one that warms up."""
    step(0)
    best, end, number = float("inf"), time.monotonic() + SECONDS, 1
    while number < 3 or time.monotonic() < end:
        started = time.perf_counter()
        images = step(number)
        best = min(best, (time.perf_counter() - started) / images)
        number += 1
        if number > 20:
            break
    return best


def keep(root: Path, expected: dict[str, float]) -> None:
    """Add jobs' expected seconds to those of other jobs."""
    store.write_json(root / FILE, {**store.read_json(root / FILE, {}), **expected})


def read(root: Path) -> dict[str, float]:
    """The expected seconds of jobs, by name."""
    return {str(name): float(value) for name, value in store.read_json(root / FILE, {}).items()}


def words(seconds: float) -> str:
    """`40 s` or `6 min`"""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
