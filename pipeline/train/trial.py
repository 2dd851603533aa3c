"""A job's learner built before anything trains, on torch's meta device: without memory or arithmetic, so in an instant.

What can't be built, or can't take the job's images, is a user's error at a setting of the job.
"""

from typing import Any

import torch

from pipeline import checkpoint, plugins
from pipeline.errors import UserError
from pipeline.learners.base import Learner
from pipeline.params import Job
from pipeline.sample import Facts
from pipeline.train import transfer


def build(job: Job, facts: Facts) -> None:
    """Build the learner, find the modules that the job names, and pass an image through; UserError where that fails."""
    learner = _built(job, checkpoint.describe(job, facts))
    transfer.check(job, learner)
    _pass(job, learner)


def _built(job: Job, description: dict[str, Any]) -> Learner:
    try:
        with torch.device("meta"):
            return checkpoint.build(description)
    except UserError:
        raise
    except Exception:  # perhaps only for want of numbers, of which the meta device has none
        return _built_plainly(job, description)


def _built_plainly(job: Job, description: dict[str, Any]) -> Learner:
    try:
        return checkpoint.build(description).to("meta")
    except UserError:
        raise
    except Exception as error:
        given = {"options": job.options, "loss": job.loss, "size": job.size, "channels": job.channels}
        raise UserError(
            f"options: {job.architecture} can't be built with {given} ({type(error).__name__}: {_line(error)}). "
            "Change what is of a wrong type or out of range."
        ) from error


def _pass(job: Job, learner: Learner) -> None:
    network = learner.network.eval()
    images = torch.empty(1, job.channels, job.size, job.size, device="meta")
    trace = getattr(plugins.load("models", job.architecture), "trace", None)
    try:
        with torch.no_grad():
            network(images) if trace is None else trace(network, images)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"size: an image of {job.size} pixels does not go through {job.architecture} ({_line(error)}). "
            "Take another size, mostly a larger one, or change its options."
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
