"""Figures of proposals, for networks that classify proposals: pictures, and recall against their number.

An object that no proposal covers can't be detected, so recall of proposals bounds that of the detector. Hosang,
Benenson, Dollár, Schiele: What makes for effective detection proposals?, PAMI 2016, https://arxiv.org/abs/1502.05082.

Promise: proposals are those that the network classifies, in the order in which it gets them; those of a region proposal
network are of the trained one. Crowds and difficult objects are not counted.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.augment.fit import Fit
from pipeline.geometry import boxes as geometry
from pipeline.images import spread
from pipeline.learners.batch import stack
from pipeline.learners.detector import Detector, GroundTruth
from pipeline.sample import Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: limit of held-out images, spread evenly; images per batch; images of the figure, and its columns
LIMIT, BATCH, SHOWN, COLUMNS = 200, 8, 6, 3
#: minimum overlaps of a covered object → colors of the lines
LEVELS = {0.5: "#2e7d32", 0.7: "#1565c0"}
COVERED, NOT_COVERED, OTHER, TRUTH = "#00e676", "#ff9100", "#40c4ff", "white"
#: limit of other proposals in a picture; with more objects than CROWD there are no captions, which would hide it
OTHERS, CROWD = 100, 30
#: inches of a picture's side; points of a caption's letter width and line height
PANEL, LETTER, LINE = 3.0, 4.6, 9.5
Boxes = NDArray[np.float32]


class Coverage(NamedTuple):
    """An image with P×4 proposals, N×4 true boxes and P×N overlaps."""

    sample: Sample
    proposals: Boxes
    truth: NDArray[np.float64]
    overlaps: NDArray[np.float64]


def figures(detector: Detector, held_out: Sequence[Sample]) -> dict[str, "Figure"]:
    """By name; none for a network without proposals, or images without objects."""
    samples = [held_out[int(index)] for index in spread(len(held_out), LIMIT)]
    coverages = [_coverage(*pair) for pair in zip(samples, proposals_of(detector, samples), strict=False)]
    coverages = [item for item in coverages if len(item.truth)]
    if not coverages:
        return {}
    return {
        "proposals": pictures([coverages[index] for index in spread(len(coverages), SHOWN)]),
        "recall-of-proposals": curve([item.overlaps for item in coverages]),
    }


@torch.inference_mode()
def proposals_of(detector: Detector, samples: Sequence[Sample]) -> list[Boxes]:
    """P×4 proposals per image in stored pixels, in the network's order; an empty list if there are none.

    They are those of the samples, or come from the network's `rpn`, torchvision's region proposal network.
    """
    stored = [item.proposals for item in samples if item.proposals is not None]
    if len(stored) == len(samples) or not hasattr(detector.network, "rpn"):
        return stored
    network: Any = detector.network
    fit, channels = Fit(detector.settings.size, detector.settings.fit), detector.settings.channels
    result: list[Boxes] = []
    for start in range(0, len(samples), BATCH):
        part = samples[start : start + BATCH]
        scaled, placements = zip(*map(fit.forward, part), strict=True)
        inputs, _ = network.transform(detector.normalize(stack(scaled, channels).to(detector.mean.device)))
        proposals, _ = network.rpn(inputs, network.backbone(inputs.tensors))
        pairs = zip(proposals, placements, strict=True)
        result += [placement.to_pixels(boxes.float().cpu().numpy()) for boxes, placement in pairs]
    return result


def _coverage(sample: Sample, proposals: Boxes) -> Coverage:
    truth = GroundTruth.of(sample)
    boxes = truth.boxes[~truth.ignored & (geometry.area(truth.boxes) > 0)]
    return Coverage(sample, proposals, boxes, geometry.iou(proposals, boxes))


def ranks(overlaps: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """P×N overlaps → N: the number of proposals needed to cover each object; infinity if none covers it."""
    covers = overlaps >= level
    first = covers.argmax(axis=0) + 1.0 if len(covers) else np.zeros(overlaps.shape[1])
    return np.where(covers.any(axis=0), first, np.inf)


def recall(overlaps: Sequence[NDArray[np.float64]], level: float) -> NDArray[np.float64]:
    """P×N overlaps per image → the fraction of all objects covered by the first n proposals of their image, n = 1, 2, …

    The length is the largest P; an image with fewer proposals keeps the recall of all of them.
    """
    needed = np.concatenate([ranks(item, level) for item in overlaps])
    longest = max(len(item) for item in overlaps)
    return (needed[:, None] <= np.arange(1, longest + 1)).mean(axis=0)


def curve(overlaps: Sequence[NDArray[np.float64]]) -> "Figure":
    """Recall against the number of proposals, on a logarithmic axis."""
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
    objects, median = sum(item.shape[1] for item in overlaps), np.median([len(item) for item in overlaps])
    axes.set(xlabel="first n proposals of an image", ylabel="fraction of objects covered", ylim=(0, 1.02))
    axes.set_title(
        f"held-out images: {len(overlaps)}, objects: {objects}, proposals: {median:.0f} (median)", fontsize=9
    )
    axes.grid(alpha=0.3)
    axes.legend(title="recall of all", frameon=False, loc="best")
    return figure


def pictures(images: Sequence[Coverage]) -> "Figure":
    """Images with the best proposal of each object and its overlap, and other proposals as faint lines."""
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
        "best proposal, below": NOT_COVERED,
        "true box": TRUTH,
        f"other proposals (the first {OTHERS})": OTHER,
    }
    lines = [Line2D([], [], color=color, linestyle=":" if color == TRUTH else "-") for color in kinds.values()]
    figure.legend(
        lines, [*kinds], loc="outside lower center", ncols=2, fontsize=8, facecolor="0.25", labelcolor="white"
    )
    return figure


def _picture(axes: "Axes", image: Coverage) -> None:
    height, width = image.sample.pixels.shape[:2]
    axes.imshow(image.sample.pixels)
    best = image.overlaps.argmax(axis=0) if len(image.proposals) else np.zeros(0, np.int64)
    others = np.setdiff1d(np.arange(len(image.proposals)), best)[:OTHERS]
    _rectangles(axes, image.proposals[others], OTHER, linewidth=0.5, alpha=0.3)
    _rectangles(axes, image.truth, TRUTH, linewidth=1, linestyle=":")
    values = image.overlaps[best, np.arange(len(best))]
    points_per_pixel = PANEL * 72 / max(height, width)
    taken: list[NDArray[np.float64]] = []
    crowded = len(values) > CROWD
    for box, value in zip(image.proposals[best[values > 0]], values[values > 0], strict=True):
        color = COVERED if value >= min(LEVELS) else NOT_COVERED
        _rectangles(axes, box[None], color, linewidth=1 if crowded else 1.5)
        caption = np.array([4 * LETTER, LINE]) / points_per_pixel
        position = None if crowded else free_position(box, taken, np.array([width, height]), caption)
        if position is not None:
            style = {"facecolor": color, "edgecolor": "none", "pad": 0.5}
            # rounded down, so that 0.50 is never orange
            axes.text(*position, f"{int(100 * value) / 100:.2f}", fontsize=7, va="top", bbox=style)
    axes.set(xlim=(0, width), ylim=(height, 0))
    covered = (values >= min(LEVELS)).sum()
    axes.set_title(f"{len(image.proposals)} proposals cover {covered} of {len(image.truth)}", fontsize=8)


def _rectangles(axes: "Axes", boxes: NDArray[Any], color: str, **style: Any) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    rectangles = [Rectangle((left, top), right - left, bottom - top) for left, top, right, bottom in boxes.tolist()]
    axes.add_collection(PatchCollection(rectangles, facecolor="none", edgecolor=color, **style))


def free_position(
    box: Boxes, taken: list[NDArray[np.float64]], end: NDArray[Any], size: NDArray[Any]
) -> tuple[float, float] | None:
    """A corner of the box where a caption of `size` covers no other one, added to `taken`; None if there is none."""
    left, top, right, bottom = box.tolist()
    wide, high = size.tolist()
    for x, y in ((left, top - high), (left, bottom), (right - wide, top - high), (right - wide, bottom), (left, top)):
        x, y = min(max(x, 0), end[0] - wide), min(max(y, 0), end[1] - high)
        caption = np.array([[x, y, x + wide, y + high]])
        if not taken or not geometry.iou(caption, np.concatenate(taken)).any():
            taken.append(caption)
            return x, y
    return None
