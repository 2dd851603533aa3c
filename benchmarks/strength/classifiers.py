"""Peers in classification: logistic regression on timm's features, and timm's network trained further."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.strength.training import SIDE, Epochs, anneal, batches, network_of, settings_of, step
from pipeline import shards, timm_weights
from pipeline.sample import Sample

Floats = NDArray[np.float32]
#: penalties of the logistic regression, as scikit-learn's C
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)


def networks(prepared: Path, weights: Path) -> dict[str, Epochs]:
    """The peers of the task, by name."""
    return {"logistic regression": _logistic(prepared, weights), "timm, tuned": _tuned(prepared, weights)}


def _transform(weights: Path, **training: Any) -> Callable[[Image.Image], Tensor]:
    """timm's: for evaluation the centre, for training its random crop, flip and RandAugment."""
    from timm.data import create_transform

    mean, std = timm_weights.normalization(weights.stem)
    made: Callable[[Image.Image], Tensor] = create_transform(
        SIDE, mean=mean, std=std, interpolation="bicubic", **training
    )
    return made


def _logistic(prepared: Path, weights: Path) -> Epochs:
    """One epoch a penalty."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network, transform = network_of(weights, num_classes=0).eval(), _transform(weights)
    seen: dict[str, Floats] = {}

    @torch.inference_mode()
    def features(item: Sample) -> Floats:
        if item.id not in seen:
            seen[item.id] = network(transform(Image.fromarray(item.pixels))[None])[0].numpy()
        return seen[item.id]

    train = list(shards.split(prepared, "train"))
    table, labels = np.stack([features(item) for item in train]), [int(item.label or 0) for item in train]
    for penalty in PENALTIES:
        head = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=1000)).fit(table, labels)
        yield partial(_probabilities, head, features)


def _probabilities(head: Any, features: Callable[[Sample], Floats], item: Sample) -> Floats:
    probabilities: Floats = head.predict_proba(features(item)[None])[0].astype(np.float32)
    return probabilities


def _tuned(prepared: Path, weights: Path) -> Epochs:
    from timm.utils import ModelEmaV3

    stored = shards.split(prepared, "train")
    network = network_of(weights, num_classes=len(settings_of(prepared).classes))
    averaged = ModelEmaV3(network, decay=0.99)
    training = _transform(weights, is_training=True, auto_augment="rand-m7-mstd0.5", scale=(0.35, 1.0))
    descent = torch.optim.AdamW(network.parameters(), 5e-4, weight_decay=0.02)
    transform = _transform(weights)

    @torch.inference_mode()
    def predict(item: Sample) -> Floats:
        logits = averaged.module(transform(Image.fromarray(item.pixels))[None])
        return np.asarray(logits.softmax(dim=1)[0].numpy(), np.float32)

    while True:
        network.train()
        for chosen in batches(len(stored), 32):
            items = [stored[index] for index in chosen]
            images = torch.stack([training(Image.fromarray(item.pixels)) for item in items])
            labels = torch.tensor([int(item.label or 0) for item in items])
            step(descent, F.cross_entropy(network(images), labels, label_smoothing=0.1))
            averaged.update(network)
        averaged.module.eval()
        anneal(descent, 5e-4, (yield predict))
