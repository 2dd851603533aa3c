"""An image cut into S×S cells, the boxes and classes that are said of each, and which box answers for a thing.

Redmon, Divvala, Girshick, Farhadi: You Only Look Once, CVPR 2016, section 2, https://arxiv.org/abs/1506.02640; what
the paper leaves open is as in Darknet, https://github.com/pjreddie/darknet.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Said(NamedTuple):
    """What is said of S² cells, row by row, each with B boxes.

    boxes: …×S²×B×4, x and y of the centre in cells from the cell's corner, and the roots of width and height in parts
    of the image · confidence: …×S²×B · classes: …×S²×B×C.
    """

    boxes: Tensor
    confidence: Tensor
    classes: Tensor


class Grid(NamedTuple):
    """How the output is laid out: `cells` a side, `boxes` a cell, shares of `classes` a cell or a box."""

    cells: int
    boxes: int
    classes: int
    boxes_have_classes: bool = False

    @property
    def outputs(self) -> int:
        """Numbers a cell."""
        return self.boxes * (5 + self.classes) if self.boxes_have_classes else self.boxes * 5 + self.classes

    def split(self, values: Tensor) -> Said:
        """B×S²×outputs by meaning; shares of a cell are those of each of its boxes."""
        if self.boxes_have_classes:
            said = values.unflatten(2, (self.boxes, 5 + self.classes))
            return Said(said[..., :4], said[..., 4], said[..., 5:])
        said = values[..., : 5 * self.boxes].unflatten(2, (self.boxes, 5))
        classes = values[..., None, 5 * self.boxes :].expand(-1, -1, self.boxes, -1)
        return Said(said[..., :4], said[..., 4], classes)

    def encode(self, corners: Tensor) -> tuple[Tensor, Tensor]:
        """N×4 corners in parts of the image → the N cells of their centres, and N×4 as in `Said`."""
        low, high = corners.chunk(2, 1)
        centre = (low + high) / 2 * self.cells
        at = centre.floor().clamp(0, self.cells - 1)
        return (at[:, 1] * self.cells + at[:, 0]).long(), torch.cat([centre - at, (high - low).sqrt()], 1)

    def decode(self, boxes: Tensor) -> Tensor:
        """…×S²×B×4 as in `Said` → corners in parts of the image."""
        number = torch.arange(self.cells**2, device=boxes.device)
        corner = torch.stack([number % self.cells, number // self.cells], 1)[:, None]
        centre, half = (boxes[..., :2] + corner) / self.cells, boxes[..., 2:].square() / 2
        return torch.cat([centre - half, centre + half], -1)


def responsible(guessed: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Of M×B×4 boxes the M that overlap most with M×4, and by how much; where none does, the nearest, as in Darknet."""
    truth = truth[:, None]
    low, high = torch.maximum(guessed, truth)[..., :2], torch.minimum(guessed, truth)[..., 2:]
    shared = (high - low).clamp(min=0).prod(-1)
    areas = [(corners[..., 2:] - corners[..., :2]).prod(-1) for corners in (guessed, truth)]
    overlaps = shared / (areas[0] + areas[1] - shared)
    nearness = -(_centred(guessed) - _centred(truth)).square().sum(-1)
    box = torch.where((overlaps > 0).any(1, keepdim=True), overlaps, nearness).argmax(1)
    return box, overlaps.gather(1, box[:, None])[:, 0]


def _centred(corners: Tensor) -> Tensor:
    """…×4 corners → x and y of the centre, width, height."""
    low, high = corners.split(2, -1)
    return torch.cat([(low + high) / 2, high - low], -1)
