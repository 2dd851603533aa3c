"""One sentence about each metric, for readers who meet it for the first time; a metric not listed has none."""

import re

from pipeline.metric_names import renamed

MEANINGS = {
    "top1": "fraction of images whose most probable class is correct",
    "top5": "fraction of images whose correct class is among the five most probable",
    "mean_recall": "recall of each class, averaged over classes, so that rare classes count as much as common ones",
    "ECE": "expected calibration error: mean difference between confidence and accuracy; 0 is best",
    "nll": "mean negative log-likelihood of the correct class, in nats; lower is better",
    "brier": "mean squared difference between the predicted probabilities and the true class; lower is better",
    "recall": "fraction of a class’s images that are classified correctly",
    "localization_accuracy": "fraction of images with the correct class and a box of IoU ≥ 0.5 with a true box",
    "gt_known_loc": "fraction of images whose box has an IoU ≥ 0.5 with a true box when the true class is given",
    "mean_iou": "intersection over union (IoU) of predicted and true box, averaged over images",
    "mIoU": "intersection over union (IoU) of predicted and true pixels of a class, averaged over classes",
    "IoU": "intersection over union of predicted and true pixels of one class",
    "BF1": "boundary F1: agreement of predicted and true contours within 0.75 % of the image’s diagonal",
    "fw_IoU": "IoU averaged over classes, each weighted by its number of pixels",
    "pixel_acc": "fraction of pixels whose class is correct",
    "mean_acc": "fraction of a class’s pixels whose class is correct, averaged over classes",
    "dice": "Dice coefficient: twice the intersection of predicted and true pixels over the sum of both",
    "mAP": "average precision of boxes, averaged over classes and IoU thresholds from 0.50 to 0.95 (COCO)",
    "AP50": "average precision of boxes at an IoU threshold of 0.50",
    "AP75": "average precision of boxes at an IoU threshold of 0.75",
    "AP": "average precision of one class’s boxes, averaged over IoU thresholds from 0.50 to 0.95",
    "AP_small": "average precision for objects of fewer than 32×32 pixels",
    "AP_medium": "average precision for objects from 32×32 to 96×96 pixels",
    "AP_large": "average precision for objects of more than 96×96 pixels",
    "AP50_voc07": "average precision of boxes at IoU 0.50 by the rules of PASCAL VOC 2007, at eleven recalls",
    "AP50_voc10": "average precision of boxes at IoU 0.50 by the rules of PASCAL VOC 2010 to 2012, at all recalls",
    "AR1": "average recall of boxes with at most one detection per image and class",
    "AR10": "average recall of boxes with at most 10 detections per image and class",
    "AR100": "average recall of boxes with at most 100 detections per image and class",
    "AR": "average recall of boxes with at most so many detections per image and class",
    "AR_small": "average recall for objects of fewer than 32×32 pixels",
    "AR_medium": "average recall for objects from 32×32 to 96×96 pixels",
    "AR_large": "average recall for objects of more than 96×96 pixels",
    "FID": "Fréchet distance between the features of generated and real images; the network is in brackets",
    "KID": "kernel distance between the features of generated and real images; the network is in brackets",
    "sample_precision": "fraction of generated images that lie among real ones in the network’s feature space",
    "sample_recall": "fraction of real images that lie among generated ones in the network’s feature space",
    "confident_fraction": "fraction of generated images that the network classifies with a probability of at least 0.9",
    "classes_found": "number of classes among the generated images with a probability of at least 0.9",
    "diversity": "distance between generated images over distance between real ones; near 0 is mode collapse",
    "parameters": "number of trainable parameters",
    "multiply-adds": "multiply-add operations per image",
    "latency": "time from image to prediction for one image, on the device named below the table",
    "training": "wall-clock time of the whole training",
}
#: prefix of a metric → the similarity that it uses in place of box IoU
SIMILARITIES = {"mask_": "mask IoU", "keypoint_": "object keypoint similarity (OKS)"}


def meaning(metric: str) -> str | None:
    """The sentence for a metric: `FID[lenet5]` is looked up as `FID`, `AR300` as `AR`, `mask_AP75` as `AP75`."""
    name = renamed(metric).split("[")[0]
    for prefix, similarity in SIMILARITIES.items():
        if name.startswith(prefix):
            sentence = meaning(name.removeprefix(prefix))
            return sentence and f"{sentence}; with {similarity} in place of box IoU"
    return MEANINGS.get(name) or MEANINGS.get(re.sub(r"^AR\d+$", "AR", name))
