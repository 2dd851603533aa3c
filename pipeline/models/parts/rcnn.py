"""What torchvision's R-CNNs and ours share: images that come ready, frozen normalization, and one traced pass."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d, roi_align

#: side in cells of what a box head sees of a proposal, and what a head of masks or keypoints sees
CELLS, INSTANCE_CELLS = 7, 14


class Ready(nn.Module):
    """Stands where torchvision scales and normalises images: ours come ready. Its class 0 is background, ours a thing.

    Masks are moved by half a pixel: torchvision's mask loss reads a pixel at its corner, and we paste at its centre.
    """

    def forward(self, images: Tensor, targets: Sequence[dict[str, Tensor]] | None = None) -> tuple[ImageList, Any]:
        """Images B×C×S×S and targets → torchvision's image list and targets."""
        sizes = [(images.shape[-2], images.shape[-1])] * len(images)
        return ImageList(images, sizes), None if targets is None else [_counted(target) for target in targets]

    def postprocess(self, found: list[dict[str, Tensor]], _sizes: Any, _original: Any) -> list[dict[str, Tensor]]:
        """Labels from 0."""
        return [item | {"labels": item["labels"] - 1} for item in found]


def _counted(target: dict[str, Tensor]) -> dict[str, Tensor]:
    changed = target | {"labels": target["labels"] + 1}
    if "masks" in target:
        padded = nn.functional.pad(target["masks"][:, None].float(), (1, 0, 1, 0))
        changed["masks"] = nn.functional.avg_pool2d(padded, 2, stride=1)[:, 0]
    return changed


def freeze_norm(network: nn.Module) -> None:
    """Replace batch normalisation by the fixed scale and shift that it has come to."""
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(layer.num_features, layer.eps)
            frozen.load_state_dict(layer.state_dict(), strict=False)
            network.set_submodule(name, frozen)


def trace(network: Any, images: Tensor) -> dict[str, list[Tensor]]:
    """What the network computes for an image with the largest number of proposals, all of them the whole image."""
    return judged(network, network.backbone(images), images.shape[-1])


def judged(network: Any, maps: dict[str, Tensor], side: int) -> dict[str, list[Tensor]]:
    """What both heads say of the maps of side×side images: about every anchor, and about the proposals."""
    objectness, deltas = network.rpn.head(list(maps.values()))
    pooled = pool(maps, side, network.roi_heads.box_roi_pool.output_size[0], network.rpn.post_nms_top_n())
    scores, boxes = network.roi_heads.box_predictor(network.roi_heads.box_head(pooled))
    return {"objectness": objectness, "deltas": deltas, "scores": [scores], "boxes": [boxes]}


def pool(maps: dict[str, Tensor], side: int, cells: int, count: int) -> Tensor:
    """The finest map in `count` boxes, all of them the whole first image: count×C×cells×cells."""
    whole = maps["0"].new_tensor([0, 0, 0, side, side]).expand(count, 5)
    return roi_align(maps["0"], whole, cells, maps["0"].shape[-1] / side, 2)


def trace_instances(network: Any, images: Tensor) -> dict[str, list[Tensor]]:
    """What the network computes for an image with the most proposals and detections, all of them the whole image."""
    maps, side = network.backbone(images), images.shape[-1]
    heads = network.roi_heads
    pooled = pool(maps, side, INSTANCE_CELLS, heads.detections_per_img)
    if heads.has_keypoint():
        found = {"keypoints": [heads.keypoint_predictor(heads.keypoint_head(pooled))]}
    else:
        found = {"masks": [heads.mask_predictor(heads.mask_head(pooled))]}
    return judged(network, maps, side) | found
