"""Build a job's learner before training, on torch's meta device: in an instant, without memory or arithmetic.

A learner that can't be built, or can't process the job's images, is a UserError that names the setting. Layers that
need values are tried on the CPU.
"""

from typing import Any

import torch

from pipeline import checkpoint, plugins
from pipeline.errors import UserError
from pipeline.learners.base import Learner
from pipeline.learners.frozen import Frozen
from pipeline.params import Job
from pipeline.sample import Facts
from pipeline.train import transfer


def build(job: Job, facts: Facts) -> None:
    """Build the learner, check the modules that the job names, and pass an image through; UserError if that fails."""
    description = checkpoint.describe(job, facts)
    learner = _build(job, description)
    transfer.check(job, learner)
    _check_frozen(job, learner)
    try:
        _pass(job, learner, "meta")
    except UserError:
        raise
    except Exception:  # perhaps only because tensors on the meta device have no values
        _pass_on_cpu(job, _build_on_cpu(job, description))


def _check_frozen(job: Job, learner: Learner) -> None:
    """UserError if a job whose features are computed once asks for more."""
    if not isinstance(learner, Frozen):
        return
    if job.epochs:
        raise UserError(f"epochs: {job.architecture} learns nothing by gradient. Set it to 0.")
    if job.augmentation is not None:
        raise UserError(f"augmentation: {job.architecture} computes the features of each image once. Remove it.")


def _build(job: Job, description: dict[str, Any]) -> Learner:
    try:
        with torch.device("meta"):
            return checkpoint.build(description)
    except UserError:
        raise
    except Exception:  # perhaps only because tensors on the meta device have no values
        return _build_on_cpu(job, description).to("meta")


def _build_on_cpu(job: Job, description: dict[str, Any]) -> Learner:
    try:
        with torch.random.fork_rng(devices=[]):
            return checkpoint.build(description)
    except UserError:
        raise
    except Exception as error:
        given = {"options": job.options, "loss": job.loss, "size": job.size, "channels": job.channels}
        raise UserError(
            f"options: {job.architecture} can't be built with {given} ({type(error).__name__}: {_line(error)}). "
            "Correct the value that has a wrong type or is out of range."
        ) from error


@torch.no_grad()
def _pass(job: Job, learner: Learner, device: str) -> None:
    network = learner.network.eval()
    images = torch.zeros(1, job.channels, job.size, job.size, device=device)
    trace = getattr(plugins.load("models", job.architecture), "trace", None)
    network(images) if trace is None else trace(network, images)


def _pass_on_cpu(job: Job, learner: Learner) -> None:
    try:
        _pass(job, learner, "cpu")
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"size: {job.architecture} can't process images of {job.size} pixels ({_line(error)}). "
            "Choose another size, mostly a larger one, or other options."
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
