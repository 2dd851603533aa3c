"""Shared code of torchvision's R-CNNs and ours: the transform, frozen normalisation, one pass for counting."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d, roi_align

#: side in cells of a pooled proposal for the box head, and for the mask or keypoint head
CELLS, INSTANCE_CELLS = 7, 14


class Ready(nn.Module):
    """Replaces torchvision's transform: our images are scaled and normalised already.

    It shifts labels, as torchvision's class 0 is background and ours an object class. It also shifts masks by half a
    pixel: torchvision's mask loss samples a pixel at its corner, and we paste masks at its centre.
    """

    def forward(self, images: Tensor, targets: Sequence[dict[str, Tensor]] | None = None) -> tuple[ImageList, Any]:
        """Images B×C×S×S and targets → torchvision's image list and targets."""
        sizes = [(images.shape[-2], images.shape[-1])] * len(images)
        return ImageList(images, sizes), None if targets is None else [_to_torchvision(target) for target in targets]

    def postprocess(self, detections: list[dict[str, Tensor]], _sizes: Any, _original: Any) -> list[dict[str, Tensor]]:
        """Detections per image with labels from 0."""
        return [item | {"labels": item["labels"] - 1} for item in detections]


def _to_torchvision(target: dict[str, Tensor]) -> dict[str, Tensor]:
    changed = target | {"labels": target["labels"] + 1}
    if "masks" in target:
        padded = nn.functional.pad(target["masks"][:, None].float(), (1, 0, 1, 0))
        changed["masks"] = nn.functional.avg_pool2d(padded, 2, stride=1)[:, 0]
    return changed


def freeze_norm(network: nn.Module) -> None:
    """Replace batch normalisation by a fixed scale and shift from its current statistics."""
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(layer.num_features, layer.eps)
            frozen.load_state_dict(layer.state_dict(), strict=False)
            network.set_submodule(name, frozen)


def trace(network: Any, images: Tensor) -> dict[str, list[Tensor]]:
    """One pass for counting: the largest number of proposals, each the whole image."""
    return predict_whole(network, network.backbone(images), images.shape[-1])


def predict_whole(network: Any, feature_maps: dict[str, Tensor], side: int) -> dict[str, list[Tensor]]:
    """Outputs of the RPN for every anchor and of the box head for proposals that are whole side×side images."""
    objectness, deltas = network.rpn.head(list(feature_maps.values()))
    pooled = pool_whole(feature_maps, side, network.roi_heads.box_roi_pool.output_size[0], network.rpn.post_nms_top_n())
    scores, boxes = network.roi_heads.box_predictor(network.roi_heads.box_head(pooled))
    return {"objectness": objectness, "deltas": deltas, "scores": [scores], "boxes": [boxes]}


def pool_whole(feature_maps: dict[str, Tensor], side: int, cells: int, count: int) -> Tensor:
    """Pool the finest feature map over `count` boxes, each the whole first image: count×C×cells×cells."""
    finest = feature_maps["0"]
    whole = finest.new_tensor([0, 0, 0, side, side]).expand(count, 5)
    return roi_align(finest, whole, cells, finest.shape[-1] / side, 2)


def trace_instances(network: Any, images: Tensor) -> dict[str, list[Tensor]]:
    """One pass for counting: the most proposals and detections, each the whole image."""
    feature_maps, side = network.backbone(images), images.shape[-1]
    heads = network.roi_heads
    pooled = pool_whole(feature_maps, side, INSTANCE_CELLS, heads.detections_per_img)
    if heads.has_keypoint():
        instances = {"keypoints": [heads.keypoint_predictor(heads.keypoint_head(pooled))]}
    else:
        instances = {"masks": [heads.mask_predictor(heads.mask_head(pooled))]}
    return predict_whole(network, feature_maps, side) | instances
