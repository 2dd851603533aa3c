"""What the measures mean, in a sentence for someone who meets them first; one not listed is shown without."""

import re

MEANINGS = {
    "top1": "share of images whose most probable class is the right one",
    "top5": "share of images whose right class is among the five most probable",
    "mean_recall": "share found of each class, averaged so that rare classes count as much as common ones",
    "ECE": "calibration error: how far stated confidence is from the share that is right",
    "nll": "average surprise (negative log-likelihood, nats) at the right class; small where confidence is justified",
    "brier": "squared distance between the stated probabilities and the truth",
    "recall": "share of a class’s images that are recognised as such",
    "loc_acc": "share of images whose class is right and whose box overlaps the true one by half or more",
    "gt_known_loc": "the same for the box of the true class, so that only the place is asked for",
    "mean_iou": "overlap of predicted and true box, averaged: shared area over joint area",
    "mIoU": "overlap of predicted and true area (shared over joint), averaged over classes",
    "IoU": "overlap of predicted and true area of a class: shared area over joint area",
    "BF1": "how much of the predicted and the true borders lie within 0.75 % of the image's diagonal of each other",
    "fw_IoU": "the same overlap, each class weighing as much as it has pixels",
    "pixel_acc": "share of pixels given the right class",
    "mean_acc": "share of pixels of each class given that class, averaged over classes",
    "dice": "overlap of predicted and true area: twice the shared area over the sum of both",
    "mAP": "average precision of boxes, over overlaps from 50 % to 95 % (the COCO measure)",
    "AP50": "average precision of boxes, counting a box as right from 50 % overlap",
    "AP75": "average precision of boxes, counting a box as right from 75 % overlap",
    "AP": "average precision of one class’s boxes, over overlaps from 50 % to 95 %",
    "AP_small": "average precision for things of fewer than 32×32 pixels",
    "AP_medium": "average precision for things from 32×32 to 96×96 pixels",
    "AP_large": "average precision for things of more than 96×96 pixels",
    "AP50_voc07": "average precision of boxes from 50 % overlap by the rules of PASCAL VOC 2007, at eleven recalls",
    "AP50_voc10": "the same by the rules of PASCAL VOC 2010 to 2012, over all recalls",
    "AR1": "share of things found, by boxes, if only the surest answer of each image and class may be given",
    "AR10": "share of things found, by boxes, with at most ten answers an image and class",
    "AR100": "share of things found, by boxes, with at most a hundred answers an image and class",
    "AR": "share of things found, by boxes, with at most so many answers an image and class",
    "AR_small": "share found, by boxes, of things of fewer than 32×32 pixels",
    "AR_medium": "share found, by boxes, of things from 32×32 to 96×96 pixels",
    "AR_large": "share found, by boxes, of things of more than 96×96 pixels",
    "FID": "distance between made and real images, in the features of the network in brackets",
    "KID": "distance between made and real images by kernels, in the features of the network in brackets",
    "sample_precision": "share of made images that lie among real ones, in the features of the network in brackets",
    "sample_recall": "share of real images that lie among made ones, in the features of the network in brackets",
    "sure": "share of made images that the network in brackets puts in a class with a probability of 0.9 or more",
    "classes": "how many classes the network in brackets surely finds among made images",
    "diversity": "how far made images are from one another, over how far real ones are; near 0 all are alike",
    "parameters": "numbers that training adjusts",
    "multiply-adds": "multiplications, each with its addition, for one image",
    "latency": "time from image to answer for one image, at the device named below the table",
    "training": "wall-clock time of the whole training",
}
#: prefixes of measures of boxes that are taken of something else
OTHERS = {"mask_": "outlines", "keypoint_": "the similarity of key points"}


def meaning(measure: str) -> str | None:
    """The sentence for a measure: `FID[lenet5]` is looked up as `FID`, `AR300` as `AR`, `mask_AP75` as of outlines."""
    name = measure.split("[")[0]
    for prefix, what in OTHERS.items():
        if name.startswith(prefix):
            found = meaning(name.removeprefix(prefix))
            return found and f"{found}; by {what} in place of boxes"
    return MEANINGS.get(name) or MEANINGS.get(re.sub(r"^AR\d+$", "AR", name))
