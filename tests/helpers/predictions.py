"""A small untrained model of any task, of the first architecture that does it, and a prediction of it."""

import dataclasses
from pathlib import Path
from typing import Any

import torch

from pipeline import checkpoint, plugins, store
from pipeline.learners.base import Settings
from pipeline.sample import Sample, resized

#: networks that have no SMALL and more parameters are not built
LARGEST = 5_000_000


def small_network(task: str) -> tuple[str, int, int, dict[str, Any]]:
    """An architecture of a task, its channels and side of images, and options, with which it is small."""
    network_task = plugins.network_task(task)
    for name in plugins.names("models"):
        if network_task in plugins.constant("models", name, "TASKS"):
            paper, small = (plugins.constant("models", name, constant) for constant in ("PAPER", "SMALL"))
            channels = paper["input"][0] if paper else 3
            if small:
                chosen = small if "size" in small else small[network_task]
                return name, channels, chosen["size"], chosen["options"]
            if paper is None or paper["parameters"] < LARGEST:
                return name, channels, paper["input"][1] if paper else 32, paper["options"] if paper else {}
    raise AssertionError(f"no architecture of {task} is small: give one a SMALL")


def store_model(folder: Path, task: str, fit: str = "stretch") -> Path:
    """A small untrained model of a task at rest; its classes are a and b."""
    name, channels, size, options = small_network(task)
    half = (0.5,) * channels
    settings = Settings(("a", "b"), ("ground", "a"), (1, 1), channels, size, half, half, ("tip",), 1024, fit)
    values = {"architecture": name, "options": options, "loss": {}, "settings": dataclasses.asdict(settings)}
    torch.manual_seed(0)
    derived: dict[str, Any] = {field: {} for field in plugins.needed_fields(name)}
    with store.folder(folder, f"mark-{task}") as path:
        description = {"task": task, **values, "derived": derived}
        checkpoint.save(path, checkpoint.build(description), description)
    return folder


def predict(task: str, sample: Sample, classes: tuple[str, ...], semantic: tuple[str, ...]) -> tuple[Any, Settings]:
    """The prediction of one sample, and the learner's settings; keypoints are named `tip`."""
    name, channels, size, options = small_network(task)
    half = (0.5,) * channels
    settings = Settings(classes, semantic, (1,) * len(classes), channels, size, half, half, ("tip",))
    torch.manual_seed(0)
    learner = checkpoint.build(
        {
            "task": task,
            "architecture": name,
            "options": options,
            "loss": {},
            "settings": dataclasses.asdict(settings),
        }
    ).eval()
    others = {plugins.constant("augment.derived", field, "FIELD") for field in plugins.names("augment.derived")}
    others -= {plugins.constant("augment.derived", field, "FIELD") for field in plugins.needed_fields(name)}
    absent: dict[str, Any] = dict.fromkeys(others)
    given = resized(dataclasses.replace(sample, **absent), size, size)
    batch, targets = plugins.load("tasks", task).collate([given], settings)
    with torch.inference_mode():
        (prediction,) = learner.predict_batch(batch, targets)
    return prediction, settings
