"""What the measures mean, in a sentence for someone who meets them first; one not listed is shown without."""

MEANINGS = {
    "top1": "share of images whose most probable class is the right one",
    "top5": "share of images whose right class is among the five most probable",
    "mean_recall": "share found of each class, averaged so that rare classes count as much as common ones",
    "ECE": "calibration error: how far stated confidence is from the share that is right",
    "nll": "average surprise (negative log-likelihood, nats) at the right class; small where confidence is justified",
    "brier": "squared distance between the stated probabilities and the truth",
    "mean_iou": "overlap of predicted and true box, averaged: shared area over joint area",
    "mIoU": "overlap of predicted and true area (shared over joint), averaged over classes",
    "pixel_accuracy": "share of pixels given the right class",
    "dice": "overlap of predicted and true area: twice the shared area over the sum of both",
    "mAP": "average precision of boxes, over overlaps from 50 % to 95 % (the COCO measure)",
    "AP50": "average precision of boxes, counting a box as right from 50 % overlap",
    "AP75": "average precision of boxes, counting a box as right from 75 % overlap",
    "mask_mAP": "average precision of outlines, over overlaps from 50 % to 95 %",
    "mask_AP50": "average precision of outlines, counting one as right from 50 % overlap",
    "FID": "distance between made and real images, in the features of the network in brackets",
    "KID": "distance between made and real images by kernels, in the features of the network in brackets",
    "parameters": "numbers that training adjusts",
    "multiply-adds": "multiplications, each with its addition, for one image",
    "latency": "time from image to answer for one image, at the device named below the table",
    "training": "wall-clock time of the whole training",
}


def meaning(measure: str) -> str | None:
    """The sentence for a measure; `FID[lenet5]` is looked up as `FID`."""
    return MEANINGS.get(measure.split("[")[0])
