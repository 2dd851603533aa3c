"""What proposals cover, for networks that judge proposals: pictures, and recall against their number.

A thing that no proposal covers can't be found, so recall of proposals bounds that of the detector. Hosang, Benenson,
Dollár, Schiele: What makes for effective detection proposals?, PAMI 2016, https://arxiv.org/abs/1502.05082.

Promise: proposals are those that the network judges, in the order in which they come to it; of a region proposal
network as it is after training. Crowds and what is marked difficult are not asked for.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.geometry import boxes as geometry
from pipeline.images import spread
from pipeline.learners.batch import stack
from pipeline.learners.detector import Detector, GroundTruth
from pipeline.sample import Sample, resized

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: held-out images that are looked at, at most so many, spread evenly; some at once; shown in a sheet
MOST, BATCH, SHOWN, COLUMNS = 200, 8, 6, 3
#: overlaps from which a thing is covered, and the lines' colours
LEVELS = {0.5: "#2e7d32", 0.7: "#1565c0"}
COVERED, NOT, CLOUD, TRUTH = "#00e676", "#ff9100", "#40c4ff", "white"
#: other proposals that are drawn in a picture; with more things than CROWD, words would hide it
OTHERS, CROWD = 100, 30
#: inches of a picture's side, and points of a caption's letter and line
PANEL, LETTER, LINE = 3.0, 4.6, 9.5
Boxes = NDArray[np.float32]


class Covered(NamedTuple):
    """An image, its P×4 proposals, its N×4 true boxes, and P×N overlaps."""

    sample: Sample
    proposals: Boxes
    truth: NDArray[np.float64]
    overlaps: NDArray[np.float64]


def figures(detector: Detector, held_out: Sequence[Sample]) -> dict[str, "Figure"]:
    """By name; none for a network that judges no proposals, or where nothing is to be found."""
    chosen = [held_out[int(place)] for place in spread(len(held_out), MOST)]
    found = [_covered(*pair) for pair in zip(chosen, proposed(detector, chosen), strict=False)]
    found = [image for image in found if len(image.truth)]
    if not found:
        return {}
    return {
        "proposals": pictures([found[place] for place in spread(len(found), SHOWN)]),
        "recall-of-proposals": curve([image.overlaps for image in found]),
    }


@torch.inference_mode()
def proposed(detector: Detector, samples: Sequence[Sample]) -> list[Boxes]:
    """P×4 boxes an image in stored pixels, the first to judge in front; no images where nothing proposes.

    They come with the samples, or are of the network's `rpn`, torchvision's region proposal network.
    """
    given = [item.proposals for item in samples if item.proposals is not None]
    if len(given) == len(samples) or not hasattr(detector.network, "rpn"):
        return given
    network: Any = detector.network
    size, channels = detector.settings.size, detector.settings.channels
    found: list[Boxes] = []
    for start in range(0, len(samples), BATCH):
        part = samples[start : start + BATCH]
        images = stack([resized(item, size, size) for item in part], channels).to(detector.mean.device)
        ready, _ = network.transform(detector.normalize(images))
        proposals, _ = network.rpn(ready, network.backbone(ready.tensors))
        shapes = [item.pixels.shape[:2] for item in part]
        found += [
            geometry.scale(boxes.float().cpu().numpy(), height / size, width / size)
            for boxes, (height, width) in zip(proposals, shapes, strict=True)
        ]
    return found


def _covered(sample: Sample, proposals: Boxes) -> Covered:
    truth = GroundTruth.of(sample)
    boxes = truth.boxes[~truth.ignored & (geometry.area(truth.boxes) > 0)]
    return Covered(sample, proposals, boxes, geometry.iou(proposals, boxes))


def ranks(overlaps: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """P×N overlaps → of each of N things how many proposals it takes to cover it; infinity where none does."""
    covers = overlaps >= level
    first = covers.argmax(axis=0) + 1.0 if len(covers) else np.zeros(overlaps.shape[1])
    return np.where(covers.any(axis=0), first, np.inf)


def recall(overlaps: Sequence[NDArray[np.float64]], level: float) -> NDArray[np.float64]:
    """P×N overlaps an image → of n = 1, 2, … the share of all things covered by the first n proposals of their image.

    As long as the most proposals of an image; one that has fewer covers no more with them.
    """
    needed = np.concatenate([ranks(item, level) for item in overlaps])
    longest = max(len(item) for item in overlaps)
    return (needed[:, None] <= np.arange(1, longest + 1)).mean(axis=0)


def curve(overlaps: Sequence[NDArray[np.float64]]) -> "Figure":
    """Recall against the number of proposals, which is logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    for level, color in LEVELS.items():
        values = recall(overlaps, level)
        reached = f"IoU ≥ {level:.1f}: {values[-1]:.2f}" if len(values) else f"IoU ≥ {level:.1f}: no proposals"
        axes.step(np.arange(1, len(values) + 1), values, where="post", color=color, label=reached)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    things, middle = sum(item.shape[1] for item in overlaps), np.median([len(item) for item in overlaps])
    axes.set(xlabel="proposals of an image, the first of them", ylabel="share of things covered", ylim=(0, 1.02))
    axes.set_title(f"held-out images: {len(overlaps)}, things: {things}, proposals: {middle:.0f} (median)", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(title="recall with all", frameon=False, loc="best")
    return figure


def pictures(images: Sequence[Covered]) -> "Figure":
    """Of each thing the proposal that covers it best, with its overlap, above a faint cloud of others."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows, columns = -(-len(images) // COLUMNS), min(len(images), COLUMNS)
    figure = Figure(figsize=(max(2, columns) * PANEL, rows * PANEL + 0.6), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes in panels:
        axes.set_axis_off()
    for axes, image in zip(figure.axes, images, strict=False):
        _picture(axes, image)
    kinds = {
        "best proposal, IoU ≥ 0.5": COVERED,
        "best proposal, below": NOT,
        "true box": TRUTH,
        f"other proposals (the first {OTHERS})": CLOUD,
    }
    lines = [Line2D([], [], color=color, linestyle=":" if color == TRUTH else "-") for color in kinds.values()]
    figure.legend(
        lines, [*kinds], loc="outside lower center", ncols=2, fontsize=8, facecolor="0.25", labelcolor="white"
    )
    return figure


def _picture(axes: "Axes", image: Covered) -> None:
    height, width = image.sample.pixels.shape[:2]
    axes.imshow(image.sample.pixels)
    best = image.overlaps.argmax(axis=0) if len(image.proposals) else np.zeros(0, np.int64)
    others = np.setdiff1d(np.arange(len(image.proposals)), best)[:OTHERS]
    _outline(axes, image.proposals[others], CLOUD, linewidth=0.5, alpha=0.3)
    _outline(axes, image.truth, TRUTH, linewidth=1, linestyle=":")
    values = image.overlaps[best, np.arange(len(best))]
    points = PANEL * 72 / max(height, width)
    taken: list[NDArray[np.float64]] = []
    crowded = len(values) > CROWD
    for box, value in zip(image.proposals[best[values > 0]], values[values > 0], strict=True):
        color = COVERED if value >= min(LEVELS) else NOT
        _outline(axes, box[None], color, linewidth=1 if crowded else 1.5)
        caption = np.array([4 * LETTER, LINE]) / points
        place = None if crowded else _free(box, taken, np.array([width, height]), caption)
        if place is not None:
            name = {"facecolor": color, "edgecolor": "none", "pad": 0.5}
            axes.text(*place, f"{int(100 * value) / 100:.2f}", fontsize=7, va="top", bbox=name)  # never .50 in orange
    axes.set(xlim=(0, width), ylim=(height, 0))
    covered = (values >= min(LEVELS)).sum()
    axes.set_title(f"{len(image.proposals)} proposals cover {covered} of {len(image.truth)}", fontsize=8)


def _outline(axes: "Axes", boxes: NDArray[Any], color: str, **style: Any) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    drawn = [Rectangle((left, top), right - left, bottom - top) for left, top, right, bottom in boxes.tolist()]
    axes.add_collection(PatchCollection(drawn, facecolor="none", edgecolor=color, **style))


def _free(
    box: Boxes, taken: list[NDArray[np.float64]], end: NDArray[Any], size: NDArray[Any]
) -> tuple[float, float] | None:
    """Where at the box's corners a caption of that size covers no other, above first; which is then taken too."""
    left, top, right, bottom = box.tolist()
    wide, high = size.tolist()
    for x, y in ((left, top - high), (left, bottom), (right - wide, top - high), (right - wide, bottom), (left, top)):
        x, y = min(max(x, 0), end[0] - wide), min(max(y, 0), end[1] - high)
        caption = np.array([[x, y, x + wide, y + high]])
        if not taken or not geometry.iou(caption, np.concatenate(taken)).any():
            taken.append(caption)
            return x, y
    return None
