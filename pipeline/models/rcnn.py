"""R-CNN: each proposal is cropped, warped to the input size of a classifier, and classified alone.

Girshick, Donahue, Darrell, Malik: Rich Feature Hierarchies for Accurate Object Detection and Semantic Segmentation,
CVPR 2014, https://arxiv.org/abs/1311.2524. Published: 54.2 mAP on VOC 2007 (AlexNet), 58.5 with box regression,
66.0 with VGG-16; 13 s per image on a GPU, mostly for 2,000 forward passes.

Promise: training has the paper's three steps. A classifier is trained on proposals by gradient, with background as one
class more. Then `fit` trains, once and without gradient, a linear SVM per class on the inputs of the output layer
(`svm: true`) and a ridge regression per class that corrects boxes from the last feature map (`box_regression: true`).
Both become buffers, so that a served model needs no scikit-learn. PAPER's parameters are counted on our AlexNet for 227
pixels and 21 classes: none are published. All three steps use the same proposals; features are not stored on disk as in
the paper.
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
from pipeline.models.parts.box_coding import (
    DetectionFilter,
    RoiSampler,
    class_loss,
    decode_deltas,
    encode_deltas,
    proposals_of,
    whole_image_proposals,
)
from pipeline.models.parts.feature_maps import inputs, meta_copy, outputs
from pipeline.models.parts.layers import check_options, levels_of
from pipeline.models.parts.spec import Spec, anatomy, build_network
from pipeline.models.parts.svm import HardNegativeMining, Margins, Ridge, RidgeFitting

TASKS = ("detection",)
PAPER = {
    "input": [3, 500, 500],
    "classes": 20,
    "options": {"backbone": "alexnet", "window": 227},
    "parameters": 56_954_261,
}
SMALL = {"size": 64, "options": {"backbone": "lenet5", "window": 32}}
LEVELS = ()
#: derived fields that the network reads beside the image
NEEDS = ("proposals",)

#: context on each side as a fraction of the window: 16 of 227 pixels
CONTEXT = 16 / 227
#: windows per forward pass, which limits memory
WINDOWS_PER_PASS = 256
#: IoU below which a proposal is a negative of an SVM, and from which a regression learns to correct it
NEGATIVE_IOU, REGRESSION_IOU = 0.3, 0.6


def build(
    spec: Spec,
    *,
    backbone: str = "alexnet",
    backbone_options: dict[str, Any] | None = None,
    window: int = 227,
    samples: int = 32,
    positive_fraction: float = 0.25,
    svm: bool = True,
    box_regression: bool = True,
    score: float = 0.05,
    overlap: float = 0.3,
    detections: int = 100,
) -> nn.Module:
    """Images B×C×S×S and proposals → per image a dict of boxes, labels and scores; with targets: losses by name.

    backbone: a classifier in pipeline/models for images of `window` pixels per side, backbone_options: of its `build` ·
    samples: proposals per image in training, at most `positive_fraction` of them positive · svm: scores come from the
    SVMs, as 1 / (1 + exp(−margin)), else from the classifier · box_regression: correct boxes · score: smallest score
    of a detection · overlap: IoU above which two boxes of a class are duplicates · detections: maximum per image.
    """
    options: dict[str, Any] = dict(backbone_options or {})
    check_options(backbone, options)
    level = levels_of(backbone, options)[-1]
    body = build_network(backbone, Spec("classification", spec.classes + 1, spec.channels, window), options)
    if anatomy(body).head is None:
        raise UserError(f"options.backbone: {backbone} has no HEAD; choose a classifier that has one")
    sampler, detection_filter = (
        RoiSampler(samples, positive_fraction, 0.5, 0.0),
        DetectionFilter(score, overlap, detections),
    )
    network = RCNN(body, level, Spec(spec.task, spec.classes, spec.channels, window), sampler, detection_filter)
    network.svm, network.box_regression = svm, box_regression
    return network


class WindowFeatures(NamedTuple):
    """A classifier's logits N×(K+1) of N windows, the inputs of its output layer N×D, its last feature map flat N×E."""

    logits: Tensor
    features: Tensor
    pooled: Tensor


class RCNN(nn.Module):
    """A classifier of windows with background as a class, and K fitted SVMs and box regressions."""

    fitted: Tensor
    svm = box_regression = True

    def __init__(
        self, body: nn.Module, level: str, spec: Spec, sampler: RoiSampler, detection_filter: DetectionFilter
    ) -> None:
        super().__init__()
        self.body, self.level, self.spec = body, level, spec
        self.sampler, self.detection_filter = sampler, detection_filter
        with torch.no_grad():
            shapes = self._extract(meta_copy(body), torch.empty(2, spec.channels, spec.size, spec.size, device="meta"))
        self.widths = [part.shape[1] for part in shapes]
        self.margins = Margins(self.widths[1], spec.classes)
        self.ridge = Ridge(self.widths[2], spec.classes)
        self.register_buffer("fitted", torch.zeros(()))

    def windows(self, images: Tensor, boxes: Sequence[Tensor]) -> Tensor:
        """B×C×S×S and boxes per image → R×C×W×W: each box with context, warped to a square; 0 outside the image."""
        scale = 1 / (1 - 2 * CONTEXT)
        border = ceil((scale - 1) / 2 * images.shape[-1])
        regions = []
        for own in boxes:
            centre, half = (own[:, :2] + own[:, 2:]) / 2, (own[:, 2:] - own[:, :2]) / 2
            regions.append(torch.cat([centre - scale * half, centre + scale * half], 1) + border)
        return roi_align(F.pad(images, (border,) * 4), regions, self.spec.size, aligned=True)

    def _extract(self, body: nn.Module, windows: Tensor) -> WindowFeatures:
        with inputs(body, str(anatomy(self.body).head)) as features, outputs(body, self.level) as pooled:
            logits = body(windows)
        return WindowFeatures(logits.float(), features[0].float(), pooled[0].flatten(1).float())

    def extract(self, images: Tensor, boxes: Sequence[Tensor]) -> WindowFeatures:
        """The classifier's outputs for all boxes of all images, WINDOWS_PER_PASS at a time."""
        outputs_of_parts = []
        for image, own in zip(images, boxes, strict=True):
            parts = own.split(WINDOWS_PER_PASS) if len(own) else ()
            outputs_of_parts += [self._extract(self.body, self.windows(image[None], [part])) for part in parts]
        empty = [images.new_zeros(0, width) for width in self.widths]
        return WindowFeatures(*(torch.cat(field) for field in zip(empty, *outputs_of_parts, strict=True)))

    def forward(
        self,
        images: Tensor,
        targets: Sequence[Target] | None = None,
        proposals: Sequence[Tensor] | None = None,
    ) -> Any:
        """With targets, which hold proposals: losses by name. Without: detections, one dict per image."""
        boxes, size = proposals_of(targets, proposals), images.shape[-1]
        if targets is None:
            scores, corrected = self.predict(self.extract(images, boxes), torch.cat(boxes))
            counts = [len(own) for own in boxes]
            per_image = zip(corrected.split(counts), scores.split(counts), strict=True)
            return [self.detection_filter.select(*item, size) for item in per_image]
        rois = [self.sampler.sample(*pair, self.spec.classes) for pair in zip(boxes, targets, strict=True)]
        labels = torch.cat([item.labels for item in rois])
        logits = self.body(self.windows(images, [item.boxes for item in rois]))
        return {"class": class_loss(logits, labels)}

    def predict(self, outputs: WindowFeatures, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Scores R×K and corrected boxes per class R×K×4 of R boxes.

        Before `fit` scores are the classifier's own and boxes stay as they are.
        """
        scores = outputs.logits.softmax(1)[:, :-1]
        corrected = boxes[:, None].expand(-1, self.spec.classes, 4)
        if self.svm and self.fitted:
            scores = self.margins(outputs.features).sigmoid()
        if self.box_regression and self.fitted:
            corrected = decode_deltas(self.ridge(outputs.pooled), boxes)
        return scores, corrected

    def fit(self, batches: Iterable[tuple[Tensor, Sequence[Target]]]) -> None:
        """Fit the SVMs with hard negatives, and the regressions on boxes that overlap an object by REGRESSION_IOU."""
        if not (self.svm or self.box_regression):
            return
        mining, regressions = HardNegativeMining(self.margins), RidgeFitting(self.ridge)
        for images, targets in batches:
            boxes = [torch.cat([target["boxes"], target["proposals"]]) for target in targets]
            outputs = self.extract(images, boxes)
            examples = [_training_targets(*pair, self.spec.classes) for pair in zip(boxes, targets, strict=True)]
            positive, negative, labels, deltas = (torch.cat(field) for field in zip(*examples, strict=True))
            mining.add(outputs.features, positive, negative)
            regressions.add(outputs.pooled, labels, deltas)
        mining.finish()
        regressions.finish()
        self.fitted.fill_(1)


def _training_targets(boxes: Tensor, target: Target, classes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training targets of R boxes, of which the first are the ground truth.

    Positives of the SVMs R×K: the ground-truth boxes of the class. Negatives R×K: boxes whose IoU with every object of
    the class is below NEGATIVE_IOU. Classes R of the regressions: of the object with the largest IoU if that is at
    least REGRESSION_IOU, else −1. Deltas R×4 from the box to that object's box.
    """
    truth, labels = target["boxes"], target["labels"]
    one_hot = F.one_hot(labels, classes).bool()
    positive = torch.cat([one_hot, one_hot.new_zeros(len(boxes) - len(truth), classes)])
    if not len(truth):
        return positive, ~positive, labels.new_full((len(boxes),), -1), torch.zeros_like(boxes)
    ious = box_iou(boxes, truth)
    class_ious = (ious[:, :, None] * one_hot).amax(1)
    best, matches = ious.max(1)
    regression_labels = torch.where(best >= REGRESSION_IOU, labels[matches], -1)
    regression_labels[: len(truth)] = -1  # ground-truth boxes need no correction
    return positive, class_ious < NEGATIVE_IOU, regression_labels, encode_deltas(truth[matches], boxes)


def trace(network: RCNN, images: Tensor) -> Tensor:
    """One pass for counting: an image with 2,000 proposals, each the whole image."""
    logits: Tensor = network.body(network.windows(images[:1], [whole_image_proposals(images)]))
    return logits
