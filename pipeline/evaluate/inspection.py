"""Inspection of a classifier: the weights of its first layer, and distances between classes in its feature space.

Written beside the rows: `seeing.json`, and `seeing-first-layer.png` if the first layer reads the pixels. Features are
the input of the network's HEAD; a hook collects them while the rows are made, so that each image is predicted once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import images, plugins, store
from pipeline.evaluate.predict import BATCH
from pipeline.learners.base import Learner, Settings
from pipeline.models.parts.feature_maps import inputs
from pipeline.plots.figures import captioned
from pipeline.shards import Shards

#: about how many images are compared at most, spread evenly over the split
MAX_IMAGES = 1000
MAX_TILES, TILE, COLUMNS = 128, 48, 16
GRAY = (84, 84, 84)
Tiles = list[NDArray[np.uint8]]


@contextmanager
def collect_features(learner: Learner, architecture: str, count: int) -> Iterator[list[Tensor]]:
    """Collect the input of the network's HEAD for `count` images within the block; stays empty without a HEAD."""
    head = plugins.constant("models", architecture, "HEAD")
    if head is None:
        yield []
    else:
        with inputs(learner.network, head, step=_step(count)) as features:
            yield features


def _step(count: int) -> int:
    return max(1, -(-count // MAX_IMAGES))


def write(path: Path, learner: Learner, stored: Shards, collected: Sequence[Tensor]) -> None:
    """Write the inspection of a network; nothing if no features were collected."""
    if not collected:
        return
    inspection: dict[str, Any] = {}
    weights = first_layer(learner.network, learner.settings)
    if weights is not None:
        store.write_bytes(path / "seeing-first-layer.png", images.encode_png(_sheet(weights, learner.settings)))
        inspection["first_layer"] = list(weights.shape)
    step, count = _step(len(stored)), len(stored)
    indices = np.concatenate([np.arange(start, min(start + BATCH, count), step) for start in range(0, count, BATCH)])
    all_labels = stored.column("label")
    labels = [all_labels[index] for index in indices]
    features = torch.cat([part.cpu() for part in collected]).double()
    if None not in labels and len(features) == len(labels):  # a network may run its head twice per image
        inspection |= class_distances(features, np.array(labels), indices, learner.settings.classes)
    store.write_json(path / "seeing.json", inspection)


def first_layer(network: nn.Module, settings: Settings) -> NDArray[np.float32] | None:
    """N×C×h×w: the kernels of the first convolution, or the rows of a linear layer that reads all pixels.

    None if the first layer with weights is neither.
    """
    layer = next((item for item in network.modules() if isinstance(item, nn.Conv2d | nn.Linear)), None)
    pixels = settings.channels, settings.size, settings.size
    if isinstance(layer, nn.Conv2d) and layer.weight.shape[1] == settings.channels:
        weights = layer.weight
    elif isinstance(layer, nn.Linear) and layer.in_features == np.prod(pixels):
        weights = layer.weight.unflatten(1, pixels)
    else:
        return None
    return np.asarray(weights.detach().cpu().numpy(), np.float32)


def tiles(weights: NDArray[np.float32]) -> Tiles:
    """N×C×h×w weights as N pictures, each on its own scale: middle gray is 0, black or white the largest magnitude."""
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    scaled = np.round(127.5 * (1 + weights / np.maximum(largest, 1e-12))).astype(np.uint8)
    return [np.repeat(item, 3 // len(item), axis=0).transpose(1, 2, 0) for item in scaled]


def _sheet(weights: NDArray[np.float32], settings: Settings) -> NDArray[np.uint8]:
    """All tiles in a grid; if there is one template per class, as large as the image, with the class's name."""
    pictures = tiles(weights[:MAX_TILES])
    if len(weights) == len(settings.classes) and weights.shape[-1] == settings.size:
        named = zip(pictures, settings.classes, strict=False)
        return images.grid([captioned(tile, name, GRAY) for tile, name in named], 5, side=112)
    return images.grid(pictures, min(COLUMNS, len(pictures)), side=TILE)


def class_distances(
    features: Tensor, labels: NDArray[np.int64], indices: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, Any]:
    """Mean Euclidean distances within each class and between classes, in units of the mean over all pairs of images.

    features N×D, labels N, indices N of the images in the split. Classes of fewer than two images are left out;
    empty if fewer than two classes remain. The most typical image is the one nearest to the others of its class.
    """
    counts = np.bincount(labels, minlength=len(classes))
    kept = np.flatnonzero(counts >= 2)
    one_hot = torch.from_numpy(np.eye(len(classes))[labels])
    sums = (torch.cdist(features, features) @ one_hot).numpy()
    unit = sums.sum() / (len(labels) * (len(labels) - 1)) if len(labels) > 1 else 0.0
    if len(kept) < 2 or not unit > 0:
        return {}
    to_class = sums[:, kept] / (counts[kept] - (labels[:, None] == kept)) / unit
    between = np.stack([to_class[labels == number].mean(axis=0) for number in kept])
    to_others = np.where(np.eye(len(kept), dtype=np.bool_), np.inf, between)
    rows = []
    for row, number in enumerate(kept):
        own = np.flatnonzero(labels == number)
        order = own[np.argsort(to_class[own, row], kind="stable")]
        nearest = int(to_others[row].argmin())
        rows.append(
            {
                "class": classes[int(number)],
                "within": round(float(between[row, row]), 4),
                "between": round(float(np.delete(between[row], row).mean()), 4),
                "nearest": classes[int(kept[nearest])],
                "to_nearest": round(float(to_others[row, nearest]), 4),
                "most_typical": int(indices[order[0]]),
                "least_typical": int(indices[order[-1]]),
            }
        )
    return {"images": len(labels), "features": features.shape[1], "classes": rows}
