"""YOLO's grid: S×S cells per image, predictions per cell, and which box is responsible for an object.

Redmon, Divvala, Girshick, Farhadi: You Only Look Once, CVPR 2016, section 2, https://arxiv.org/abs/1506.02640; what
the paper leaves open follows Darknet, https://github.com/pjreddie/darknet.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class CellPredictions(NamedTuple):
    """Predictions of S² cells, row by row, each with B boxes.

    boxes: …×S²×B×4, the centre (x, y) in cells from the cell's corner, and the square roots of width and height as
    fractions of the image · confidence: …×S²×B · classes: class probabilities …×S²×B×C.
    """

    boxes: Tensor
    confidence: Tensor
    classes: Tensor


class Grid(NamedTuple):
    """Layout of the output: `cells` per side, `boxes` per cell, probabilities of `classes` per cell.

    boxes_have_classes: class probabilities are per box instead.
    """

    cells: int
    boxes: int
    classes: int
    boxes_have_classes: bool = False

    @property
    def outputs(self) -> int:
        """Values per cell."""
        return self.boxes * (5 + self.classes) if self.boxes_have_classes else self.boxes * 5 + self.classes

    def split(self, values: Tensor) -> CellPredictions:
        """Split the output B×S²×outputs; probabilities per cell are repeated for each of its boxes."""
        if self.boxes_have_classes:
            per_box = values.unflatten(2, (self.boxes, 5 + self.classes))
            return CellPredictions(per_box[..., :4], per_box[..., 4], per_box[..., 5:])
        per_box = values[..., : 5 * self.boxes].unflatten(2, (self.boxes, 5))
        classes = values[..., None, 5 * self.boxes :].expand(-1, -1, self.boxes, -1)
        return CellPredictions(per_box[..., :4], per_box[..., 4], classes)

    def encode(self, corners: Tensor) -> tuple[Tensor, Tensor]:
        """Corners N×4 as fractions of the image → indices N of their centres' cells, and N×4 as in CellPredictions."""
        low, high = corners.chunk(2, 1)
        centre = (low + high) / 2 * self.cells
        cell = centre.floor().clamp(0, self.cells - 1)
        return (cell[:, 1] * self.cells + cell[:, 0]).long(), torch.cat([centre - cell, (high - low).sqrt()], 1)

    def decode(self, boxes: Tensor) -> Tensor:
        """…×S²×B×4 as in CellPredictions → corners as fractions of the image."""
        index = torch.arange(self.cells**2, device=boxes.device)
        corner = torch.stack([index % self.cells, index // self.cells], 1)[:, None]
        centre, half = (boxes[..., :2] + corner) / self.cells, boxes[..., 2:].square() / 2
        return torch.cat([centre - half, centre + half], -1)


def find_responsible(preds: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Predicted boxes M×B×4 and true boxes M×4 → index M of the box with the largest IoU, and that IoU M.

    If no box overlaps, the nearest one is responsible, as in Darknet.
    """
    truth = truth[:, None]
    low, high = torch.maximum(preds, truth)[..., :2], torch.minimum(preds, truth)[..., 2:]
    intersection = (high - low).clamp(min=0).prod(-1)
    areas = [(corners[..., 2:] - corners[..., :2]).prod(-1) for corners in (preds, truth)]
    ious = intersection / (areas[0] + areas[1] - intersection)
    nearness = -(_centres_and_sides(preds) - _centres_and_sides(truth)).square().sum(-1)
    box = torch.where((ious > 0).any(1, keepdim=True), ious, nearness).argmax(1)
    return box, ious.gather(1, box[:, None])[:, 0]


def _centres_and_sides(corners: Tensor) -> Tensor:
    """Corners …×4 → centre (x, y), width, height …×4."""
    low, high = corners.split(2, -1)
    return torch.cat([(low + high) / 2, high - low], -1)
