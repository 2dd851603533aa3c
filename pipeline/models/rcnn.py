"""R-CNN: each proposal is cut out, warped to the input of a classifier, and judged alone.

Girshick, Donahue, Darrell, Malik: Rich Feature Hierarchies for Accurate Object Detection and Semantic Segmentation,
CVPR 2014, https://arxiv.org/abs/1311.2524. Published: 54.2 mAP on VOC 2007 (AlexNet), 58.5 with regression of boxes,
66.0 with VGG-16; 13 s an image on a GPU, most of them for 2,000 forward passes.

Promise: it is trained in the paper's three steps. A classifier learns proposals by gradient, background being a class
more. Then, without gradient and once (`fit`), a linear SVM a class reads what the output layer reads (`svm: true`), and
a ridge regression a class corrects boxes from the last map (`box_regression: true`); both become buffers, so that a
served model needs no scikit-learn. PAPER's parameters are those of our AlexNet for 227 pixels and 21 classes, counted:
none are published. All three steps run on the same proposals; the paper's features on disk are not needed.
"""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import box_iou, roi_align

from pipeline.errors import UserError
from pipeline.learners.detector import Target
from pipeline.models.parts.box_coding import Answers, Draw, class_loss, counted, decoded, given, told
from pipeline.models.parts.feature_maps import inputs, outputs, shadow
from pipeline.models.parts.layers import check_options, stages_of
from pipeline.models.parts.spec import Spec, anatomy, build_network
from pipeline.models.parts.svm import Margins, Mining, Pairs, Ridge

TASKS = ("detection",)
PAPER = {
    "input": [3, 500, 500],
    "classes": 20,
    "options": {"backbone": "alexnet", "window": 227},
    "parameters": 56_954_261,
}
SMALL = {"size": 64, "options": {"backbone": "lenet5", "window": 32}}
STAGES = ()
#: derived fields that it looks at beside the image
NEEDS = ("proposals",)

#: the share of the window that is context, on each side: 16 of 227 pixels
CONTEXT = 16 / 227
#: windows that are judged at once, which bounds memory
AT_ONCE = 256
#: overlaps: a proposal shows background to an SVM below the first, and a box learns from those of the second or more
NEGATIVE, NEAR = 0.3, 0.6


def build(
    spec: Spec,
    *,
    backbone: str = "alexnet",
    backbone_options: dict[str, Any] | None = None,
    window: int = 227,
    samples: int = 32,
    share: float = 0.25,
    svm: bool = True,
    box_regression: bool = True,
    score: float = 0.05,
    overlap: float = 0.3,
    detections: int = 100,
) -> nn.Module:
    """Images B×C×S×S and proposals → a dict an image with boxes, labels and scores; with targets: losses by name.

    backbone: a classifier of this folder for images of `window` pixels a side, backbone_options those of its build ·
    samples: proposals of an image that are learnt from, of which at most a `share` shows things · svm: scores are of
    the SVMs, as 1 / (1 + exp(−margin)), else the classifier's own · box_regression: boxes are corrected · score: the
    least that is an answer · overlap: boxes of a class that overlap by more are one · detections: the most that an
    image gets.
    """
    options: dict[str, Any] = dict(backbone_options or {})
    check_options(backbone, options)
    stage = stages_of(backbone, options)[-1]
    body = build_network(backbone, Spec("classification", spec.classes + 1, spec.channels, window), options)
    if anatomy(body).head is None:
        raise UserError(f"options.backbone: {backbone} has no HEAD. Choose a classifier that has.")
    draw, answers = Draw(samples, share, 0.5, 0.0), Answers(score, overlap, detections)
    network = RCNN(body, stage, Spec(spec.task, spec.classes, spec.channels, window), draw, answers)
    network.svm, network.box_regression = svm, box_regression
    return network


class Read(NamedTuple):
    """What a classifier makes of N windows: logits N×(K+1), what its output layer reads N×D, its last map flat N×E."""

    logits: Tensor
    features: Tensor
    pooled: Tensor


class RCNN(nn.Module):
    """A classifier of windows that also knows background, K SVMs and K corrections of boxes; these are fitted."""

    fitted: Tensor
    svm = box_regression = True

    def __init__(self, body: nn.Module, stage: str, spec: Spec, draw: Draw, answers: Answers) -> None:
        super().__init__()
        self.body, self.stage, self.spec, self.draw, self.answers = body, stage, spec, draw, answers
        with torch.no_grad():
            shapes = self._read(shadow(body), torch.empty(2, spec.channels, spec.size, spec.size, device="meta"))
        self.widths = [part.shape[1] for part in shapes]
        self.margins = Margins(self.widths[1], spec.classes)
        self.ridge = Ridge(self.widths[2], spec.classes)
        self.register_buffer("fitted", torch.zeros(()))

    def windows(self, images: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        """B×C×S×S and boxes by image → R×C×W×W: each box with its context, as a square; beyond the image is 0."""
        share = 1 / (1 - 2 * CONTEXT)
        border = ceil((share - 1) / 2 * images.shape[-1])
        around = []
        for part in boxes:
            centre, half = (part[:, :2] + part[:, 2:]) / 2, (part[:, 2:] - part[:, :2]) / 2
            around.append(torch.cat([centre - share * half, centre + share * half], 1) + border)
        return roi_align(F.pad(images, (border,) * 4), around, self.spec.size, aligned=True)

    def _read(self, body: nn.Module, windows: Tensor) -> Read:
        with inputs(body, str(anatomy(self.body).head)) as features, outputs(body, self.stage) as maps:
            logits = body(windows)
        return Read(logits.float(), features[0].float(), maps[0].flatten(1).float())

    def read(self, images: Tensor, boxes: Sequence[Tensor]) -> Read:
        """What the classifier makes of all boxes of all images, some at once."""
        found = []
        for image, own in zip(images, boxes, strict=True):
            parts = own.split(AT_ONCE) if len(own) else ()
            found += [self._read(self.body, self.windows(image[None], [part])) for part in parts]
        nothing = [images.new_zeros(0, width) for width in self.widths]
        return Read(*(torch.cat(part) for part in zip(nothing, *found, strict=True)))

    def forward(
        self,
        images: Tensor,
        targets: Sequence[Target] | None = None,
        proposals: Sequence[Tensor] | None = None,
    ) -> Any:
        """With targets, which hold proposals: losses by name. Without: what is found, a dict an image."""
        boxes, size = given(targets, proposals), images.shape[-1]
        if targets is None:
            scores, corrected = self.judged(self.read(images, boxes), torch.cat(boxes))
            counts = [len(one) for one in boxes]
            parts = zip(corrected.split(counts), scores.split(counts), strict=True)
            return [self.answers.of(*part, size) for part in parts]
        drawn = [self.draw.of(*pair, self.spec.classes) for pair in zip(boxes, targets, strict=True)]
        labels = torch.cat([one.labels for one in drawn])
        logits = self.body(self.windows(images, [one.boxes for one in drawn]))
        return {"class": class_loss(logits, labels)}

    def judged(self, read: Read, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Of R boxes: scores R×K, and by class the corrected boxes R×K×4; before `fit` the classifier's own."""
        own = read.logits.softmax(1)[:, :-1]
        scores = self.margins(read.features).sigmoid() if self.svm and self.fitted else own
        same = boxes[:, None].expand(-1, self.spec.classes, 4)
        corrected = decoded(self.ridge(read.pooled), boxes) if self.box_regression and self.fitted else same
        return scores, corrected

    def fit(self, batches: Iterable[tuple[Tensor, Sequence[Target]]]) -> None:
        """Train the SVMs with hard negatives, and the regressions with boxes that are nearly right already."""
        if not (self.svm or self.box_regression):
            return
        mining, pairs = Mining(self.margins), Pairs(self.ridge)
        for images, targets in batches:
            boxes = [torch.cat([target["boxes"], target["proposals"]]) for target in targets]
            read = self.read(images, boxes)
            learnt = [_learnt(*pair, self.spec.classes) for pair in zip(boxes, targets, strict=True)]
            shows, hides, near, numbers = (torch.cat(part) for part in zip(*learnt, strict=True))
            mining.see(read.features, shows, hides)
            pairs.see(read.pooled, near, numbers)
        mining.end()
        pairs.end()
        self.fitted.fill_(1)


def _learnt(boxes: Tensor, target: Target, classes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What R boxes, the first of which are the things' own, are examples of.

    R×K: that the box is a thing of the class; R×K: that it overlaps no thing of the class by 0.3; R: the class of the
    thing that it overlaps by 0.6 or more, else −1; R×4: how that thing's box differs from it.
    """
    truth, labels = target["boxes"], target["labels"]
    kinds = F.one_hot(labels, classes).bool()
    shows = torch.cat([kinds, kinds.new_zeros(len(boxes) - len(truth), classes)])
    if not len(truth):
        return shows, ~shows, labels.new_full((len(boxes),), -1), torch.zeros_like(boxes)
    overlaps = box_iou(boxes, truth)
    by_class = (overlaps[:, :, None] * kinds).amax(1)
    best, nearest = overlaps.max(1)
    near = torch.where(best >= NEAR, labels[nearest], -1)
    near[: len(truth)] = -1  # a thing's own box has nothing to correct
    return shows, by_class < NEGATIVE, near, told(truth[nearest], boxes)


def trace(network: RCNN, images: Tensor) -> Tensor:
    """What the network computes for an image with 2,000 proposals, all of them the whole image."""
    logits: Tensor = network.body(network.windows(images[:1], [counted(images)]))
    return logits
