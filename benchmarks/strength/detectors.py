"""The peer in detection: torchvision's Faster R-CNN on timm's features."""

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.strength.training import Epochs, anneal, batches, network_of, settings_of, step
from pipeline import shards, timm_weights
from pipeline.learners.detector import Detections
from pipeline.sample import Sample

SIDE = 320


class Pyramid(nn.Module):
    """torchvision's pyramid on timm's features of strides 4 to 32."""

    def __init__(self, weights: Path) -> None:
        from torchvision.ops import FeaturePyramidNetwork
        from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

        super().__init__()
        self.body = network_of(weights, features_only=True, out_indices=(1, 2, 3, 4))
        channels = self.body.feature_info.channels()  # type: ignore[operator, union-attr]
        self.out_channels = 256
        self.pyramid = FeaturePyramidNetwork(channels, self.out_channels, LastLevelMaxPool())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """B×3×H×W → five maps by name."""
        maps: dict[str, Tensor] = self.pyramid({str(at): level for at, level in enumerate(self.body(images))})
        return maps


def networks(prepared: Path, weights: Path) -> dict[str, Epochs]:
    """The peers of the task, by name."""
    return {"torchvision's Faster R-CNN": _faster_rcnn(prepared, weights)}


def _faster_rcnn(prepared: Path, weights: Path) -> Epochs:
    from torchvision.models.detection import FasterRCNN

    stored, classes = shards.split(prepared, "train"), len(settings_of(prepared).classes)
    mean, std = timm_weights.normalization(weights.stem)
    sides = {"min_size": SIDE, "max_size": 2 * SIDE}
    network = FasterRCNN(Pyramid(weights), classes + 1, image_mean=mean, image_std=std, **sides)
    descent = torch.optim.SGD(network.parameters(), 0.005, momentum=0.9, weight_decay=0.0005)

    def image(item: Sample) -> Tensor:
        return torch.from_numpy(copy.copy(item.pixels)).permute(2, 0, 1).float() / 255

    @torch.inference_mode()
    def predict(item: Sample) -> Detections:
        found, (height, width) = network([image(item)])[0], item.pixels.shape[:2]
        boxes = found["boxes"].numpy().astype(np.float64) / [width, height, width, height]
        return Detections(boxes, found["labels"].numpy() - 1, found["scores"].numpy().astype(np.float64))

    while True:
        network.train()
        for chosen in batches(len(stored), 2):
            items = [stored[index] for index in chosen]
            losses = network([image(item) for item in items], [_target(item) for item in items])
            step(descent, sum(losses.values(), torch.zeros(())))
        network.eval()
        anneal(descent, 0.005, (yield predict))


def _target(item: Sample) -> dict[str, Tensor]:
    boxes = np.zeros((0, 4)) if item.boxes is None else item.boxes
    labels = np.zeros(0) if item.labels is None else item.labels
    kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return {"boxes": torch.from_numpy(boxes[kept]).float(), "labels": torch.from_numpy(labels[kept]).long() + 1}
