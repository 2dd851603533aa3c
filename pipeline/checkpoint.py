"""A trained model at rest: `weights.safetensors` and `model.json`, from which it is rebuilt. No pickle."""

import dataclasses
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline import plugins, pretrained_weights
from pipeline.errors import UserError
from pipeline.learners import feature_extractor
from pipeline.learners.base import Learner, Settings
from pipeline.models.parts.spec import Spec, build_network
from pipeline.params import Job
from pipeline.sample import Facts
from pipeline.store import file_digest, read_json, write_json

#: mean and standard deviation by channel
Normalization = tuple[tuple[float, ...], tuple[float, ...]]

WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"
#: the folder of pictures that a learner rendered during training, by epoch
SNAPSHOTS = "snapshots"
#: names of version 0.1 in model.json, and today's: of settings, and of an architecture's options
FORMER_SETTINGS = {"points": "keypoints"}
#: longer side that images were scaled to by versions whose model.json does not say it
FORMER_MAX_SIDE = 1024
FORMER_OPTIONS = {"stages": "levels", "stage": "level", "way": "mode", "share": "positive_fraction"}
#: former names of layers in torchvision's published weights: patterns, and today's names
OLDER = (
    (r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)", r"\1\2"),
    (r"(fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$", r"\1.0.\2"),
    (r"(rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2"),
    *((rf"mask_head\.mask_fcn{layer + 1}\.", f"mask_head.{layer}.0.") for layer in range(4)),
    # FCOS has such names still, of other layers
    *((rf"(head\.\w+_head\.conv)\.{2 * layer}\.(weight|bias)$", rf"\1.{layer}.0.\2") for layer in range(4)),
)


def settings(job: Job, facts: Facts) -> Settings:
    """A learner's settings from its job and data; published weights bring the normalization of their training."""
    channels = str(job.channels)
    mean, std = tuple(facts.mean[channels]), tuple(facts.std[channels])
    if job.channels == len(pretrained_weights.IMAGENET_MEAN):
        mean, std = _published_normalization(job) or (mean, std)
    return Settings(
        classes=facts.classes,
        semantic_classes=facts.semantic_classes,
        class_counts=facts.class_counts,
        channels=job.channels,
        size=job.size,
        mean=mean,
        std=std,
        keypoints=facts.keypoints,
        max_side=facts.max_side,
        fit=job.fit,
        bits=facts.bits,
        first_page=facts.first_page,
    )


def _published_normalization(job: Job) -> Normalization | None:
    """Mean and standard deviation of the training of the weights that a job starts from; None where it has none."""
    if job.pretrained is None or job.pretrained.job is not None:
        return None
    if job.weights is not None:
        return pretrained_weights.normalization(job.weights)
    backbone: Any = job.options.get("backbone")
    inner: Any = job.options.get("backbone_options") or {}
    networks: tuple[tuple[Any, Any], ...] = ((job.architecture, job.options), (backbone, inner))
    for name, options in networks:
        module: Any = plugins.load("models", name) if name in plugins.names("models") else None
        if hasattr(module, "normalization"):
            own: Normalization = module.normalization(**options)
            return own
    return None


def describe(job: Job, facts: Facts, derived: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All that is needed to rebuild the learner, as plain values.

    derived: the options of the derived fields that its samples have, by name.
    """
    needed = {
        name: options for name, options in (derived or {}).items() if name in plugins.needed_fields(job.architecture)
    }
    return {
        "task": job.task,
        "architecture": job.architecture,
        "options": job.options,
        "loss": job.loss,
        "settings": dataclasses.asdict(settings(job, facts)),
        **({"derived": needed} if needed else {}),
    }


def stored_settings(description: dict[str, Any]) -> Settings:
    """The settings in a model.json."""
    values: dict[str, Any] = {
        FORMER_SETTINGS.get(key, key): tuple(value) if isinstance(value, list) else value
        for key, value in description["settings"].items()
    }
    return Settings(**{"max_side": FORMER_MAX_SIDE, **values})


def build(description: dict[str, Any]) -> Learner:
    """A newly initialised learner; from the architecture's own `learner` if it has one, else from the task's."""
    stored = stored_settings(description)
    architecture, task = description["architecture"], description["task"]
    classes = getattr(stored, plugins.constant("tasks", task, "CLASSES"))
    spec = Spec(plugins.network_task(task), len(classes), stored.channels, stored.size, len(stored.keypoints))
    options = {FORMER_OPTIONS.get(key, key): value for key, value in description["options"].items()}
    network = build_network(architecture, spec, options)
    task_module = plugins.load("tasks", task)
    make = getattr(plugins.load("models", architecture), "learner", task_module.learner)
    learner: Learner = make(network, stored, **description["loss"])
    learner.derived = description.get("derived", {})
    return learner


def start(network: nn.Module, source: Path) -> list[str]:
    """Load weights by name and shape from a model folder or a file; returns the names that match nothing.

    The source may be a part of the network (a classifier in a detector): the prefix with most matches is used, and
    torchvision's former names are translated if more match so. UserError if nothing matches.
    """
    given = _weights(source / WEIGHTS if source.is_dir() else source)
    target = network.state_dict()
    prefixes = ["", *(f"{name}." for name, _ in network.named_modules() if name)]

    def matches(weights: dict[str, Tensor], prefix: str) -> list[str]:
        named = [name for name in weights if prefix + name in target]
        return [name for name in named if target[prefix + name].shape == weights[name].shape]

    candidates = [(weights, prefix) for weights in (given, _renamed(given)) for prefix in prefixes]
    weights, prefix = max(candidates, key=lambda candidate: len(matches(*candidate)))
    matched = matches(weights, prefix)
    if not matched:
        raise UserError(
            f"{source}: none of its {len(weights)} weights has a name and shape of the network. Choose another."
        )
    network.load_state_dict({prefix + name: weights[name] for name in matched}, strict=False)
    return sorted(set(weights) - set(matched))


def _weights(file: Path) -> dict[str, Tensor]:
    """Tensors by name, of a safetensors file or of one that torch saved; code in the latter is not run."""
    if file.suffix not in (".pth", ".pt"):
        return load_file(file)
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file}: can't be read as weights ({reason}). Save a state_dict.") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{file}: holds more than weights by name. Save the network's state_dict alone.")
    return state


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with the names that torchvision's layers have today."""
    renamed = {}
    for name, value in weights.items():
        for old, new in OLDER:
            name = re.sub(old, new, name)
        renamed[name] = value
    return renamed


def save(folder: Path, learner: Learner, description: dict[str, Any]) -> None:
    """Write weights and description; equal models give equal bytes."""
    state = {name: value.detach().cpu().contiguous().clone() for name, value in learner.network.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    write_json(folder / DESCRIPTION, description)


def snapshots(folder: Path) -> dict[int, Path]:
    """The pictures beside a model (or a checkpoint) by epoch, in order; most have none."""
    return {int(path.stem): path for path in sorted((folder / SNAPSHOTS).glob("*.png"))}


def load(folder: Path, device: str = "cpu") -> tuple[Learner, dict[str, Any]]:
    """The learner in evaluation mode, and its description; of a file, the published extractor without one."""
    if folder.is_file():
        return feature_extractor.load_inception(folder).to(device), {}
    description: dict[str, Any] = read_json(folder / DESCRIPTION)
    with torch.random.fork_rng(devices=[]):  # building initialises weights at random, which are overwritten at once
        learner = build(description)
    learner.network.load_state_dict(load_file(folder / WEIGHTS))
    learner.name = f"{description['architecture']}@{file_digest(folder / WEIGHTS)[:12]}"
    return learner.to(device).eval(), description
