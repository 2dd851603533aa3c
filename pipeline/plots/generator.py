"""What to look at of a generator: ways between samples, whether it repeats its train images, what a classifier sees.

interpolation: noise that goes from one to another (Radford et al. 2016, section 6.1); steps without a cut speak against
memory. nearest: each sample's nearest train and held-out images. anchors: how many samples a classifier is sure of and
how far they are from real images, beside real images themselves, and noise and shuffled pixels. changes: how far both
distances move where an image is shifted, darkened or made noisy a little.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import images as files
from pipeline.learners.adversarial import Pictures, pictures_of
from pipeline.learners.batch import stack
from pipeline.metrics import fid
from pipeline.plots import perturbations
from pipeline.sample import Sample, resized

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: images of a split that are compared, at most so many, spread evenly
MOST, CHANGED, BATCH = 2000, 64, 64
WALKS, STEPS, SHOWN = 6, 9, 8
#: the probability from which a classifier is sure
SURE = 0.9
Floats = NDArray[np.float32]


@torch.inference_mode()
def figures(sampler: Any, train: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, "Figure"]:
    """By name; `anchors` and features only where the sampler has an extractor."""
    known, unseen = (_stacked(sampler, split) for split in (train, held_out))
    made = torch.cat([sampler.made(part)[0] for part in unseen.split(BATCH)])
    found = {
        "interpolation": shown([*pictures_of(walks(sampler))], STEPS),
        "nearest": nearest(sampler, made, known, unseen),
        "changes": perturbations.figure(sampler, unseen[files.spread(len(unseen), CHANGED)]),
    }
    if sampler.extractor is not None:
        found["anchors"] = anchors(sampler, made, known, unseen)
    return found


def shown(pictures: Sequence[Pictures], columns: int, *, names: Sequence[str] = (), title: str = "") -> "Figure":
    """A sheet of pictures, the names above its columns."""
    from matplotlib.figure import Figure

    side = max(48, *pictures[0].shape[:2])
    sheet = files.grid(list(pictures), columns, side=side, gap=2)
    figure = Figure(figsize=(6, 6 * sheet.shape[0] / sheet.shape[1] + 0.5 * bool(title)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet)
    axes.set_title(title, fontsize=8)
    axes.set(xticks=[2 + (side + 2) * place + side / 2 for place in range(len(names))], yticks=[])
    axes.set_xticklabels(names, fontsize=8)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    return figure


def walks(sampler: Any) -> Tensor:
    """uint8 (WALKS·STEPS)×C×S×S: each way from one noise to another, of one class where classes are told."""
    source, kinds = torch.Generator().manual_seed(0), len(sampler.settings.classes)
    ends = sampler.network.noise(2 * WALKS, "cpu", source).split(2)
    labels = torch.eye(kinds)[[number % kinds for number in range(WALKS)]] if kinds else torch.zeros(WALKS, 0)
    drawn = [
        sampler.network.draw(sampler.network.between(*pair[:, None], STEPS), label.expand(STEPS, -1))
        for pair, label in zip(ends, labels, strict=True)
    ]
    return sampler.pixels(torch.cat(drawn))


def nearest(sampler: Any, made: Tensor, known: Tensor, unseen: Tensor) -> "Figure":
    """Samples with their nearest images, and how far they are from train images beside how far held-out ones are."""
    views = {"pixels": [images.flatten(1).numpy().astype(np.float32) for images in (made, known, unseen)]}
    if sampler.extractor is not None:
        views["features"] = [_seen(sampler, images)[0] for images in (made, known, unseen)]
    sheet, names, told = [pictures_of(made[:SHOWN])], ["sample"], []
    for view, (samples, train, others) in views.items():
        told.append(f"{view} {novelty(samples, train, others):.2f}")
        for kind, images, there in (("train", known, train), ("held-out", unseen, others)):
            sheet.append(pictures_of(images)[fid.squares(samples[:SHOWN], there).argmin(axis=1)])
            names.append(f"{kind}, {view}")
    title = (
        f"how far samples are from {len(known)} train images, in units of held-out ones (copies: 0)\n{', '.join(told)}"
    )
    tiles = [row[place] for place in range(len(sheet[0])) for row in sheet]
    return shown(tiles, len(sheet), names=[name.replace(", ", "\n") for name in names], title=title)


def novelty(samples: Floats, train: Floats, unseen: Floats) -> float:
    """Median distance of samples to their nearest train image, over that of images that were never trained on."""
    own, other = (np.sqrt(fid.squares(rows, train).min(axis=1).clip(min=0)) for rows in (samples, unseen))
    return float(np.median(own) / np.median(other)) if np.median(other) > 0 else float("nan")


def anchors(sampler: Any, made: Tensor, known: Tensor, unseen: Tensor) -> "Figure":
    """Of how many images the classifier is sure, and how far they are from held-out ones, beside what is no sample.

    The held-out images' own distance is to as many train images: less can't be asked of a generator.
    """
    from matplotlib.figure import Figure

    name, found = sampler.extractor.name.split("@")[0], measures(sampler, made, known, unseen)
    figure = Figure(figsize=(9, 2.4), layout="constrained")
    shares, distances = figure.subplots(1, 2, sharey=True)
    bars = shares.barh([*found], [share for share, _, _ in found.values()])
    texts = [f"{share:.1%}, {classes} classes" for share, classes, _ in found.values()]
    shares.bar_label(bars, texts, padding=3, fontsize=8)
    shares.set_xlim(0, 1.5)
    shares.set_xlabel(f"share with a class of probability {SURE} or more, by {name}", fontsize=8)
    values = [value for _, _, value in found.values()]
    bars = distances.barh([*found], values)
    distances.bar_label(bars, [f"{value:.1f}" for value in values], padding=3, fontsize=8)
    distances.set_xlim(0, 1.25 * max(values))
    distances.set_xlabel(f"FID[{name}] to held-out images; their own: to train images", fontsize=8)
    shares.invert_yaxis()
    return figure


def measures(sampler: Any, made: Tensor, known: Tensor, unseen: Tensor) -> dict[str, tuple[float, int, float]]:
    """By set of images: the share that the extractor is sure of, in how many classes, and the Fréchet distance."""
    source = torch.Generator().manual_seed(0)
    pixels = unseen.flatten(2)
    order = torch.rand(pixels.shape[0], 1, pixels.shape[2], generator=source).argsort(dim=2)
    shuffled = pixels.gather(2, order.expand_as(pixels)).view_as(unseen)
    noise = torch.randint(0, 256, unseen.shape, dtype=torch.uint8, generator=source)
    own, _ = _seen(sampler, unseen)
    trained, _ = _seen(sampler, known[files.spread(len(known), len(unseen))])
    sets = {"held-out images": unseen, "samples": made, "shuffled pixels": shuffled, "noise": noise}
    found = {}
    for name, images in sets.items():
        features, shares = _seen(sampler, images)
        pair = (trained, own) if images is unseen else (own, features)
        rows = min(map(len, pair))
        real, other = (part[:rows].astype(np.float64) for part in pair)
        found[name] = (*sure(shares), fid.frechet(real, other)(np.ones(rows, np.int64)))
    return found


def sure(shares: Floats) -> tuple[float, int]:
    """The share of N×K rows with a probability of SURE or more, and how many classes these are of."""
    chosen = shares.max(axis=1) >= SURE
    return float(chosen.mean()), len(np.unique(shares[chosen].argmax(axis=1)))


def _stacked(sampler: Any, split: Sequence[Sample]) -> Tensor:
    side = sampler.settings.size
    chosen = [resized(split[int(place)], side, side) for place in files.spread(len(split), MOST)]
    return stack(chosen, sampler.settings.channels)


def _seen(sampler: Any, images: Tensor) -> tuple[Floats, Floats]:
    """Features and shares of classes, N×D and N×K."""
    parts = [sampler.memory.seen(part) for part in images.split(BATCH)]
    features, shares = (np.concatenate(part) for part in zip(*parts, strict=True))
    return features, shares
