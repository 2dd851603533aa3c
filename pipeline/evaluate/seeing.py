"""What a classifier has learnt, to look at: its first layer's weights, and how its features hold classes together.

Written beside the rows: `seeing.json`, and `seeing-first-layer.png` where that layer reads the pixels. Features are
what the network's HEAD reads; they are kept while the rows are made, so that no image is shown to the network twice.
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
from pipeline.sample import Shards

#: images whose features are compared, at most about so many, spread evenly
MOST = 1000
MOST_TILES, TILE, COLUMNS = 128, 48, 16
GRAY = (84, 84, 84)
Tiles = list[NDArray[np.uint8]]


@contextmanager
def watched(learner: Learner, architecture: str, count: int) -> Iterator[list[Tensor]]:
    """While the block runs, what the network's HEAD reads of `count` images; nothing where it has no HEAD."""
    head = plugins.constant("models", architecture, "HEAD")
    if head is None:
        yield []
    else:
        with inputs(learner.network, head, step=_step(count)) as seen:
            yield seen


def _step(count: int) -> int:
    return max(1, -(-count // MOST))


def write(path: Path, learner: Learner, stored: Shards, seen: Sequence[Tensor]) -> None:
    """Write what there is to see; nothing of a network that was not watched."""
    if not seen:
        return
    found: dict[str, Any] = {}
    weights = first_layer(learner.network, learner.settings)
    if weights is not None:
        store.write_bytes(path / "seeing-first-layer.png", images.encode_png(_sheet(weights, learner.settings)))
        found["first_layer"] = list(weights.shape)
    step, count = _step(len(stored)), len(stored)
    places = np.concatenate([np.arange(start, min(start + BATCH, count), step) for start in range(0, count, BATCH)])
    every = stored.column("label")
    labels = [every[place] for place in places]
    features = torch.cat(list(seen)).double()
    if None not in labels and len(features) == len(labels):  # a network that reads an image twice has no one feature
        found |= variability(features, np.array(labels), places, learner.settings.classes)
    store.write_json(path / "seeing.json", found)


def first_layer(network: nn.Module, settings: Settings) -> NDArray[np.float32] | None:
    """N×C×h×w: the kernels of the first convolution, or the rows of a linear layer that reads all pixels.

    None where the first layer with weights reads neither.
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
    """Each of N×C×h×w as a picture, on its own scale: middle grey is 0, black or white its largest magnitude."""
    largest = np.abs(weights).max(axis=(1, 2, 3), keepdims=True)
    scaled = np.round(127.5 * (1 + weights / np.maximum(largest, 1e-12))).astype(np.uint8)
    return [np.repeat(item, 3 // len(item), axis=0).transpose(1, 2, 0) for item in scaled]


def _sheet(weights: NDArray[np.float32], settings: Settings) -> NDArray[np.uint8]:
    """As templates, with the class's name, where there is one as large as the image for each class."""
    shown = tiles(weights[:MOST_TILES])
    if len(weights) == len(settings.classes) and weights.shape[-1] == settings.size:
        named = zip(shown, settings.classes, strict=False)
        return images.grid([captioned(tile, name, GRAY) for tile, name in named], 5, side=112)
    return images.grid(shown, min(COLUMNS, len(shown)), side=TILE)


def variability(
    features: Tensor, labels: NDArray[np.int64], places: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, Any]:
    """Mean Euclidean distances between images of a class and of two classes; 1 is that between any two images.

    features N×D, labels N, places N: the images' numbers in the split. Classes of fewer than two images are left
    out; empty where fewer than two classes remain. The most typical image is the one nearest to the others of its
    class.
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
    apart = np.where(np.eye(len(kept), dtype=np.bool_), np.inf, between)
    found = []
    for row, number in enumerate(kept):
        own = np.flatnonzero(labels == number)
        order = own[np.argsort(to_class[own, row], kind="stable")]
        nearest = int(apart[row].argmin())
        found.append(
            {
                "class": classes[int(number)],
                "within": round(float(between[row, row]), 4),
                "between": round(float(np.delete(between[row], row).mean()), 4),
                "nearest": classes[int(kept[nearest])],
                "to_nearest": round(float(apart[row, nearest]), 4),
                "most_typical": int(places[order[0]]),
                "least_typical": int(places[order[-1]]),
            }
        )
    return {"images": len(labels), "features": features.shape[1], "classes": found}
