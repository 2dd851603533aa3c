"""Localization: one label and one box an image, learnt from labels alone.

The network gives logits and a map for each class (Zhou et al. 2016, https://arxiv.org/abs/1512.04150). A box is what
the paper makes of a map: enlarge it to the image, keep what is above 20 % of its maximum, and take the box around the
largest connected piece. Boxes of the data set only score: loc_acc is the share of images whose label is right and
whose box overlaps the true one by an IoU of at least 0.5; gt_known_loc takes the true class's map instead, and so
asks for the box alone; mean_iou is that of the predicted class's box. Of several true boxes the best met counts.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import boxes, images
from pipeline.sample import Sample
from pipeline.statistics import Counts, Scorer
from pipeline.tasks import classification
from pipeline.tasks._images import GREEN, RED, captioned
from pipeline.tasks._learner import Learner, Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: fields that every sample must have, and which of a dataset's class lists the network's outputs index
NEEDS = ("label", "boxes")
CLASSES = "classes"
PRIMARY = "loc_acc"
HIGHER_IS_BETTER = True
#: what a served model answers, by name; maps: base64 of a K×h×w float32 array as a .npy file
OUTPUT = {"label": "string", "box": "double[]", "probabilities": "double[]", "maps": "string"}

THRESHOLD = 0.2
HIT_IOU = 0.5
#: side of a picture, and how much of a pixel is its heat
SIDE, COVER = 96, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A prediction: K class probabilities, and K×h×w maps of where each class was seen, whatever their size."""

    probabilities: NDArray[np.float32]
    maps: NDArray[np.float32]

    @property
    def label(self) -> int:
        """The most probable class."""
        return int(self.probabilities.argmax())

    def heat(self, label: int, height: int, width: int) -> NDArray[np.float32]:
        """A class's map, enlarged to height×width."""
        scaled = Image.fromarray(self.maps[label]).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(scaled, np.float32)

    def box(self, label: int, height: int, width: int) -> NDArray[np.float32]:
        """Where a class is in an image of height×width: xyxy in its pixels."""
        return largest_box(self.heat(label, height, width))


def largest_box(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    """xyxy box around the largest connected piece above 20 % of the maximum; all of it, where nothing is above 0."""
    height, width = heat.shape
    if heat.max() <= 0:
        return np.array([0, 0, width, height], np.float32)
    hot = (heat > THRESHOLD * heat.max()).astype(np.uint8)
    _, _, pieces, _ = cv2.connectedComponentsWithStats(hot, connectivity=4)
    left, top, wide, high, _ = max(pieces[1:], key=lambda piece: piece[cv2.CC_STAT_AREA])
    return np.array([left, top, left + wide, top + high], np.float32)


class _Localizer(Learner):
    """Cross-entropy on the logits: the maps learn from nothing else."""

    def losses(self, outputs: dict[str, Tensor], targets: Tensor, phase: str) -> dict[str, Tensor]:
        """Mean cross-entropy in nats; targets B labels or B×K soft labels."""
        return {"cross_entropy": F.cross_entropy(outputs["logits"].float(), targets)}

    def predict(self, outputs: dict[str, Tensor]) -> list[Looked]:
        """Probabilities and maps, an image each."""
        probabilities = outputs["logits"].float().softmax(dim=1).cpu().numpy()
        return [Looked(*pair) for pair in zip(probabilities, outputs["maps"].float().cpu().numpy(), strict=True)]


def learner(network: nn.Module, settings: Settings) -> Learner:
    """The learner of a network that gives logits and maps; it never sees a box."""
    return _Localizer(network, settings)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, Tensor]:
    """uint8 B×C×H×W and B labels (or B×K soft labels where any sample is mixed)."""
    return classification.collate(samples, settings)


def rows(sample: Sample, prediction: Looked) -> dict[str, Any]:
    """One test image: true and predicted label, the predicted class's box in stored pixels, and its overlap."""
    label, place = int(sample.label), sample.pixels.shape[:2]  # type: ignore[arg-type]
    box = prediction.box(prediction.label, *place)
    overlap = _overlap(sample, box)
    return {
        "label": label,
        "prediction": prediction.label,
        "confidence": float(prediction.probabilities[prediction.label]),
        "box": box.tolist(),
        "iou": overlap,
        "gt_known_iou": _overlap(sample, prediction.box(label, *place)),
        "severity": float(prediction.label != label) + 1 - overlap,
    }


def _overlap(sample: Sample, box: NDArray[np.float32]) -> float:
    """IoU of a box with the best of the true ones."""
    assert sample.boxes is not None
    return float(boxes.iou(box[None], sample.boxes).max(initial=0.0))


def scorer(table: pa.Table, settings: Settings) -> Scorer:
    """A function of row counts that gives all scores."""
    correct = table["label"].to_numpy() == table["prediction"].to_numpy()
    overlap, known = table["iou"].to_numpy(), table["gt_known_iou"].to_numpy()
    values = {
        "loc_acc": correct & (overlap >= HIT_IOU),
        "gt_known_loc": known >= HIT_IOU,
        "top1": correct,
        "mean_iou": overlap,
    }

    def score(counts: Counts) -> dict[str, float]:
        return {name: float((counts * value).sum() / counts.sum()) for name, value in values.items()}

    return score


def figures(table: pa.Table, settings: Settings) -> dict[str, "Figure"]:
    """How many images are localized, by the overlap that is asked for."""
    from matplotlib.figure import Figure

    correct = table["label"].to_numpy() == table["prediction"].to_numpy()
    asked = np.linspace(0, 1, 101)
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    for name, overlap in (("gt_known_loc", table["gt_known_iou"].to_numpy()), ("loc_acc", table["iou"].to_numpy())):
        hits = overlap[:, None] >= asked
        axes.plot(asked, (hits & correct[:, None] if name == "loc_acc" else hits).mean(axis=0), label=name)
    axes.axvline(HIT_IOU, color="grey", linewidth=0.8)
    axes.set(xlabel="IoU asked for", ylabel="share of images", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend()
    return {"overlap": figure}


def draw(sample: Sample, prediction: Looked, settings: Settings) -> NDArray[np.uint8]:
    """The image under the predicted class's heat, the true boxes in white, the predicted one red if it is no hit."""
    from matplotlib import colormaps

    height, width = sample.pixels.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    heat = prediction.heat(prediction.label, *size).clip(0)
    colours = 255 * colormaps["inferno"](heat / max(float(heat.max()), 1e-12))[..., :3]
    mixed = (1 - COVER) * images.resize(sample.pixels, *size, smooth=scale < 1) + COVER * colours
    canvas = Image.fromarray(mixed.astype(np.uint8))
    pen = ImageDraw.Draw(canvas)
    if sample.label is None:
        _outline(pen, prediction.box(prediction.label, height, width) * scale, "#00e676")
        text = f"{settings.classes[prediction.label]} {prediction.probabilities[prediction.label]:.2f}"
        return captioned(np.asarray(canvas), text, GREEN)
    row = rows(sample, prediction)
    hit = row["label"] == row["prediction"] and row["iou"] >= HIT_IOU
    for box in sample.boxes if sample.boxes is not None else ():
        _outline(pen, box * scale, "white")
    _outline(pen, np.array(row["box"]) * scale, "#00e676" if hit else "#ff5252")
    name = settings.classes[row["label"]]
    text = f"{name} IoU {row['iou']:.2f}"
    if row["label"] != row["prediction"]:
        text = f"{name} as {settings.classes[row['prediction']]} {row['iou']:.2f}"
    return captioned(np.asarray(canvas), text, GREEN if hit else RED)


def _outline(pen: ImageDraw.ImageDraw, box: NDArray[Any], colour: str) -> None:
    left, top, right, bottom = (round(float(value)) for value in box)
    pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour)


def answer(sample: Sample, prediction: Looked, settings: Settings) -> dict[str, Any]:
    """What a served model says of one image, as OUTPUT declares it; the box in the image's own pixels."""
    maps = io.BytesIO()
    np.save(maps, prediction.maps, allow_pickle=False)
    return {
        "label": settings.classes[prediction.label],
        "box": prediction.box(prediction.label, *sample.pixels.shape[:2]).tolist(),
        "probabilities": [float(value) for value in prediction.probabilities],
        "maps": base64.b64encode(maps.getvalue()).decode(),
    }


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> Looked:
    """The prediction behind a served answer, for scoring a served model by today's rows."""
    maps = np.load(io.BytesIO(base64.b64decode(answered["maps"])), allow_pickle=False)
    return Looked(np.asarray(answered["probabilities"], np.float32), maps)
