"""First classifiers: a linear head on published features, published weights trained further, a network from scratch."""

from typing import Any

from pipeline.recipes.parts import augmentations
from pipeline.recipes.parts.statistics import TrainStatistics
from pipeline.recipes.parts.wishes import Published, Wishes

#: images of the most frequent class for one of the rarest, from which classes get weights
UNEVEN = 3.0
#: images shown in all, by preset: from scratch, and from published weights
FROM_SCRATCH = {"fast": 60_000, "good": 120_000, "best": 240_000}
FINE_TUNED = {"good": 15_000, "best": 40_000}


def jobs(dataset: str, statistics: TrainStatistics, wishes: Wishes) -> dict[str, dict[str, Any]]:
    """The best chance for its time first: features, then weights, then a network from scratch."""
    suggested: dict[str, dict[str, Any]] = {}
    if wishes.published is not None:
        suggested["frozen"] = _frozen(wishes.published, statistics)
        if wishes.preset != "fast":
            suggested["tuned"] = _tuned(wishes.published, statistics, wishes.preset)
    if wishes.published is None or wishes.preset == "fast":
        suggested |= _from_scratch(statistics, wishes.preset)
    return suggested


def _frozen(published: Published, statistics: TrainStatistics) -> dict[str, Any]:
    return {
        "because": f"a logistic regression on features of {published.origin}: each image is computed once",
        "architecture": "frozen_features",
        "options": {"backbone": published.architecture, "backbone_options": published.options},
        **_weights(statistics),
        "pretrained": published.pretrained,
        "size": published.size,
        "fit": "crop",
        "channels": 3,
        "epochs": 0,
        "batch": 32,
    }


def _tuned(published: Published, statistics: TrainStatistics, preset: str) -> dict[str, Any]:
    epochs = statistics.epochs(FINE_TUNED[preset], 30)
    return {
        "because": f"{published.origin}, trained further; the average of its weights is kept (ema)",
        "architecture": published.architecture,
        "options": published.options,
        **_weights(statistics, label_smoothing=0.1),
        "pretrained": published.pretrained,
        "augmentation": augmentations.of_classes(statistics, preset),
        "size": published.size,
        "fit": "crop",
        "channels": 3,
        "epochs": epochs,
        "batch": 32,
        "optimizer": "adamw",
        "lr": 0.0005,
        "weight_decay": 0.02,
        "layer_decay": 0.75,
        "warmup": 1.0,
        "clip": 1.0,
        "ema": 0.99,
        "patience": max(4, epochs // 3),
    }


def _from_scratch(statistics: TrainStatistics, preset: str) -> dict[str, dict[str, Any]]:
    symbols = statistics.side <= augmentations.SYMBOLS_PX
    common = {
        **_weights(statistics),
        "augmentation": augmentations.of_classes(statistics, preset),
        "fit": "crop",
        "epochs": statistics.epochs(FROM_SCRATCH[preset], 30 if preset == "fast" else 90),
        "batch": 32,
        "warmup": 1.0,
        "weight_decay": 0.0005,
    }
    residual = {
        "because": "a small residual network from scratch, with augmented images",
        "architecture": "resnet",
        "options": {"depth": 20, "width": 8 if preset == "fast" else 16},
        **common,
        "size": 32 if symbols else 64 if preset == "fast" else 96,
        "lr": 0.1,
    }
    if not symbols:
        return {"resnet": residual}
    small = {"because": "LeNet-5 suffices for characters and symbols", **common, "size": 32, "lr": 0.02}
    return {"lenet5": small, "resnet": residual}


def _weights(statistics: TrainStatistics, **loss: Any) -> dict[str, Any]:
    """The setting `loss`: with weights of the classes where these are uneven."""
    uneven = statistics.unevenness > UNEVEN
    loss |= {"class_weights": "balanced"} if uneven else {}
    return {"loss": loss} if loss else {}
