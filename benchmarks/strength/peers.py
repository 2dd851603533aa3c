"""What a person would use instead of convline, on the same images, splits and weights, for the same seconds.

- classification: timm's features with scikit-learn's logistic regression, and timm's network trained further by timm's
  augmentation and averaged weights (classifiers.py);
- segmentation: segmentation_models_pytorch's U-Net on timm's encoder, Dice loss (segmenters.py);
- detection: torchvision's Faster R-CNN with a pyramid on timm's features (detectors.py).

Each chooses by val and is scored on test by this project's metrics, which tests compare with independent ones. Weights
are EfficientNet-Lite0's or those of another network of timm; nothing of convline trains here.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.strength import classifiers, detectors, segmenters
from benchmarks.strength.training import Epochs, Predict, settings_of
from pipeline import bootstrap, plugins, shards

RESAMPLES, SEED = 1000, 0
NETWORKS = {
    "classification": classifiers.networks,
    "segmentation": segmenters.networks,
    "detection": detectors.networks,
}


def best(task: str, prepared: Path, weights: Path, seconds: float) -> dict[str, Any]:
    """The peer of a task with the best score on val, and its score on test with the ends of its interval."""
    torch.manual_seed(SEED)
    found = {}
    for name, epochs in NETWORKS[task](prepared, weights).items():
        found[name] = _train(task, prepared, epochs, seconds)
    chosen = max(found, key=lambda name: found[name]["val"])
    return {"job": chosen, **found[chosen], "jobs": found}


def _train(task: str, prepared: Path, epochs: Epochs, seconds: float) -> dict[str, Any]:
    """Train for so many seconds, evaluations on val not counted; keep the predictions of the best epoch."""
    spent, number, val, test = 0.0, 0, -np.inf, dict[str, Any]()
    while number == 0 or spent * (number + 1) / number <= seconds:
        started = time.perf_counter()
        try:
            predict = next(epochs) if number == 0 else epochs.send(spent / seconds)
        except StopIteration:
            break
        spent += time.perf_counter() - started
        number += 1
        score = _score(task, prepared, "val", predict)
        if score["value"] > val:
            val, test = score["value"], _score(task, prepared, "test", predict)
    return {**test, "val": val, "epochs": number, "train_s": round(spent)}


def _score(task: str, prepared: Path, split: str, predict: Predict) -> dict[str, Any]:
    """Metric, value and the ends of its interval."""
    module, stored = plugins.load("tasks", task), shards.split(prepared, split)
    settings = settings_of(prepared)
    rows = [{"id": item.id, "group": item.group, **module.rows(item, predict(item))} for item in stored]
    table = pa.Table.from_pylist(rows)
    scorer = module.scorer(table, settings)
    values = scorer(np.ones(len(table), np.int64))
    metric = bootstrap.primary(module.PRIMARY, values)
    if split == "val":
        return {"metric": metric, "value": values[metric]}
    drawn = bootstrap.resample_scores(scorer, table["group"].to_pylist(), number=RESAMPLES, seed=SEED)
    low, high = bootstrap.intervals(drawn)[metric]
    return {"metric": metric, "value": values[metric], "low": low, "high": high}
