"""Figures of a generator: interpolations, nearest train images, scores by a classifier, and perturbations.

interpolation: samples along a path between two noise vectors (Radford et al. 2016, https://arxiv.org/abs/1511.06434,
section 6.1); abrupt changes hint at memorised train images. nearest: each sample's nearest train and held-out images.
anchors: the fraction of samples that a classifier is confident of and their distance from real images, beside those of
real images, shuffled pixels and noise. changes: both distances for images that are shifted, darkened or made noisy.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import images as files
from pipeline.augment.fit import Fit
from pipeline.learners.adversarial import Pictures, to_pictures
from pipeline.learners.batch import stack
from pipeline.metrics import fid
from pipeline.plots import perturbations
from pipeline.sample import Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: images of a split that are compared, at most and spread evenly; images that are perturbed; images per batch
LIMIT, PERTURBED, BATCH = 2000, 64, 64
#: interpolations and their steps; samples in `nearest`
PATHS, STEPS, SHOWN = 6, 9, 8
#: the minimum probability of a class of which a classifier is confident
CONFIDENT = 0.9
Floats = NDArray[np.float32]


@torch.inference_mode()
def figures(sampler: Any, train: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, "Figure"]:
    """By name; `anchors` only if the sampler has an extractor, and there are held-out images enough for a distance."""
    train_images, unseen = (_stack_evenly(sampler, split) for split in (train, held_out))
    device = sampler.mean.device
    fakes = torch.cat([sampler.generate_for(part.to(device))[0].cpu() for part in unseen.split(BATCH)])
    result = {
        "interpolation": sheet_figure([*to_pictures(interpolations(sampler))], STEPS),
        "nearest": nearest(sampler, fakes, train_images, unseen),
        "changes": perturbations.figure(sampler, unseen[files.spread(len(unseen), PERTURBED)]),
    }
    if sampler.extractor is not None and len(unseen) > 1:
        result["anchors"] = anchors(sampler, fakes, train_images, unseen)
    return result


def sheet_figure(pictures: Sequence[Pictures], columns: int, *, names: Sequence[str] = (), title: str = "") -> "Figure":
    """A sheet of pictures with names above its columns."""
    from matplotlib.figure import Figure

    side = max(48, *pictures[0].shape[:2])
    sheet = files.grid(list(pictures), columns, side=side, gap=2)
    figure = Figure(figsize=(6, 6 * sheet.shape[0] / sheet.shape[1] + 0.5 * bool(title)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet)
    axes.set_title(title, fontsize=8)
    axes.set(xticks=[2 + (side + 2) * column + side / 2 for column in range(len(names))], yticks=[])
    axes.set_xticklabels(names, fontsize=8)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    return figure


def interpolations(sampler: Any) -> Tensor:
    """uint8 (PATHS·STEPS)×C×S×S: each path from one noise vector to another, of one class in conditional networks."""
    source, classes, device = torch.Generator().manual_seed(0), len(sampler.settings.classes), sampler.mean.device
    ends = sampler.network.sample_noise(2 * PATHS, "cpu", source).split(2)
    labels = torch.eye(classes)[[path % classes for path in range(PATHS)]] if classes else torch.zeros(PATHS, 0)
    paths = [sampler.network.interpolate(*pair[:, None], STEPS) for pair in ends]
    fakes = [
        sampler.network.generate(noise.to(device), label.expand(STEPS, -1).to(device))
        for noise, label in zip(paths, labels, strict=True)
    ]
    return sampler.to_pixels(torch.cat(fakes)).cpu()


def nearest(sampler: Any, fakes: Tensor, train_images: Tensor, unseen: Tensor) -> "Figure":
    """Samples with their nearest train and held-out images, and the ratio of both distances (see `novelty`)."""
    sets = (fakes, train_images, unseen)
    views = {"pixels": [images.flatten(1).numpy().astype(np.float32) for images in sets]}
    if sampler.extractor is not None:
        views["features"] = [extract_all(sampler, images)[0] for images in sets]
    columns, names, ratios = [to_pictures(fakes[:SHOWN])], ["sample"], []
    for view, (samples, train, held_out) in views.items():
        ratios.append(f"{view} {novelty(samples, train, held_out):.2f}")
        for kind, images, features in (("train", train_images, train), ("held-out", unseen, held_out)):
            columns.append(to_pictures(images)[fid.squares(samples[:SHOWN], features).argmin(axis=1)])
            names.append(f"{kind}, {view}")
    title = (
        f"distance of samples from {len(train_images)} train images, divided by that of held-out images (copies: 0)\n"
        f"{', '.join(ratios)}"
    )
    tiles = [column[row] for row in range(len(columns[0])) for column in columns]
    return sheet_figure(tiles, len(columns), names=[name.replace(", ", "\n") for name in names], title=title)


def novelty(samples: Floats, train: Floats, unseen: Floats) -> float:
    """Median distance of samples to their nearest train image, divided by that of held-out images; all N×D."""
    own, other = (np.sqrt(fid.squares(rows, train).min(axis=1).clip(min=0)) for rows in (samples, unseen))
    return float(np.median(own) / np.median(other)) if np.median(other) > 0 else float("nan")


def anchors(sampler: Any, fakes: Tensor, train_images: Tensor, unseen: Tensor) -> "Figure":
    """For samples, real images, shuffled pixels and noise: the classifier's confident fraction, and the FID.

    The FID of held-out images is that to as many train images, which is the lowest that a generator can reach.
    """
    from matplotlib.figure import Figure

    name, measures = sampler.extractor.name.split("@")[0], measure(sampler, fakes, train_images, unseen)
    figure = Figure(figsize=(9, 2.4), layout="constrained")
    fractions, distances = figure.subplots(1, 2, sharey=True)
    bars = fractions.barh([*measures], [fraction for fraction, _, _ in measures.values()])
    texts = [f"{fraction:.1%}, {classes} classes" for fraction, classes, _ in measures.values()]
    fractions.bar_label(bars, texts, padding=3, fontsize=8)
    fractions.set_xlim(0, 1.5)
    fractions.set_xlabel(f"fraction with a class of probability {CONFIDENT} or more, by {name}", fontsize=8)
    values = [distance for _, _, distance in measures.values()]
    bars = distances.barh([*measures], values)
    distances.bar_label(bars, [f"{value:.1f}" for value in values], padding=3, fontsize=8)
    distances.set_xlim(0, 1.25 * max(values))
    distances.set_xlabel(f"FID[{name}] to held-out images; of these: to train images", fontsize=8)
    fractions.invert_yaxis()
    return figure


def measure(sampler: Any, fakes: Tensor, train_images: Tensor, unseen: Tensor) -> dict[str, tuple[float, int, float]]:
    """By set of images: the extractor's confident fraction, the number of these classes, and the Fréchet distance."""
    source = torch.Generator().manual_seed(0)
    pixels = unseen.flatten(2)
    order = torch.rand(pixels.shape[0], 1, pixels.shape[2], generator=source).argsort(dim=2)
    shuffled = pixels.gather(2, order.expand_as(pixels)).view_as(unseen)
    noise = torch.randint(0, 256, unseen.shape, dtype=torch.uint8, generator=source)
    own, _ = extract_all(sampler, unseen)
    train, _ = extract_all(sampler, train_images[files.spread(len(train_images), len(unseen))])
    sets = {"held-out images": unseen, "samples": fakes, "shuffled pixels": shuffled, "noise": noise}
    measures = {}
    for name, images in sets.items():
        features, probabilities = extract_all(sampler, images)
        pair = (train, own) if images is unseen else (own, features)
        rows = min(map(len, pair))
        real, other = (part[:rows].astype(np.float64) for part in pair)
        distance = fid.frechet(real, other)(np.ones(rows, np.int64))
        measures[name] = (*confident(probabilities), distance)
    return measures


def confident(probabilities: Floats) -> tuple[float, int]:
    """The fraction of N×K rows with a probability of at least CONFIDENT, and the number of classes of these."""
    rows = probabilities.max(axis=1) >= CONFIDENT
    return float(rows.mean()), len(np.unique(probabilities[rows].argmax(axis=1)))


def _stack_evenly(sampler: Any, split: Sequence[Sample]) -> Tensor:
    """At most LIMIT images of a split, spread evenly, as N×C×S×S uint8."""
    fit = Fit(sampler.settings.size, sampler.settings.fit)
    samples = [fit.forward(split[int(index)])[0] for index in files.spread(len(split), LIMIT)]
    return stack(samples, sampler.settings.channels)


def extract_all(sampler: Any, images: Tensor) -> tuple[Floats, Floats]:
    """Features N×D and class probabilities N×K."""
    parts = [sampler.feature_cache.extract(part) for part in images.split(BATCH)]
    features, probabilities = (np.concatenate(part) for part in zip(*parts, strict=True))
    return features, probabilities
