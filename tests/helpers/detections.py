"""Objects and detections: chosen by hand, random, or with pycocotools' scores."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.geometry import rle
from pipeline.learners.base import Settings
from pipeline.learners.detector import Detections
from pipeline.sample import Sample
from pipeline.tasks import detection

GOLDEN = Path(__file__).parents[1] / "tasks/data" / "coco_detection.json"
CLASSES = ("0", "1", "2")
SETTINGS = Settings(CLASSES, (), (1, 1, 1), 3, 32, (0.5,) * 3, (0.25,) * 3)
SIZE = (100, 100)
BOX = [10, 10, 50, 50]


def ellipse(size: tuple[int, int], box: list[int]) -> bytes:
    """The RLE of the ellipse in a box."""
    left, top, right, bottom = box
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    across, down = (x - (left + right) / 2) / ((right - left) / 2), (y - (top + bottom) / 2) / ((bottom - top) / 2)
    return rle.encode(across**2 + down**2 <= 1)


def sample(true: Sequence[dict[str, Any]], size: tuple[int, int] = SIZE, **fields: Any) -> Sample:
    boxes = np.array([item["box"] for item in true], np.float32).reshape(-1, 4)
    crowd, difficult = (np.array([item.get(flag, False) for item in true], np.bool_) for flag in ("crowd", "difficult"))
    labels = np.array([item.get("label", 0) for item in true], np.int64)
    return Sample(
        "x", np.zeros((*size, 3), np.uint8), boxes=boxes, labels=labels, crowd=crowd, difficult=difficult, **fields
    )


def detections_of(items: list[dict[str, Any]], size: tuple[int, int] = SIZE, **fields: Any) -> Detections:
    boxes = np.array([item["box"] for item in items], np.float64).reshape(-1, 4)
    labels = np.array([item.get("label", 0) for item in items], np.int64)
    scores = np.array([item["score"] for item in items], np.float64)
    return Detections(boxes / [size[1], size[0], size[1], size[0]], labels, scores, **fields)


def golden() -> tuple[list[Sample], list[Detections], dict[str, dict[str, float]]]:
    """Samples and predictions with masks, and pycocotools' scores by `bbox` and `segm`."""
    content = json.loads(GOLDEN.read_text(encoding="utf-8"))
    samples, predictions = [], []
    for image in content["images"]:
        size = tuple(image["size"])
        true, predicted = ([ellipse(size, item["box"]) for item in image[part]] for part in ("true", "found"))
        samples.append(sample(image["true"], size, masks=true))
        predictions.append(detections_of(image["found"], size, masks=predicted))
    return samples, predictions, content["scores"]


def scored(samples: list[Sample], predictions: list[Detections], counts: Any = None) -> dict[str, float]:
    table = pa.Table.from_pylist([detection.rows(*pair) for pair in zip(samples, predictions, strict=True)])
    return detection.scorer(table, SETTINGS)(np.ones(len(table), np.int64) if counts is None else counts)


#: what pycocotools 2.0.11 makes of `many` with `maxDets = [1, 10, …]`
MANY = {
    100: {
        "box_mAP": 0.1389210633129897,
        "box_AP50": 0.33663366336633666,
        "box_AP75": 0.06275023943418337,
        "box_AR": 0.16633333333333333,
    },
    300: {
        "box_mAP": 0.39446148342405485,
        "box_AP50": 0.9894389438943895,
        "box_AP75": 0.17810106489515587,
        "box_AR": 0.501,
    },
}


def many() -> tuple[Sample, Detections]:
    """300 small objects in an image of 512×512 (of which fractions are exact), and 1,000 detections near them."""
    true = [[22 * (k % 20), 22 * (k // 20), 22 * (k % 20) + 12 + k % 9, 22 * (k // 20) + 14] for k in range(300)]
    size, items = (512, 512), []
    for n in range(1000):
        left, top, right, bottom = true[7 * n % 300]
        items.append({"box": [left + n % 5, top + n % 3, right + n % 4, bottom + n % 2], "score": 1 - n / 1000})
    return sample([{"box": box} for box in true], size), detections_of(items, size)


def case(seed: int, number: int) -> tuple[list[Sample], list[Detections]]:
    """Random images, with detections near the true boxes and elsewhere, all of different scores."""
    rng = np.random.default_rng(seed)
    samples, predictions = [], []

    def box() -> list[int]:
        left, top, width, height = rng.integers([0, 0, 10, 10], [50, 50, 50, 50]).tolist()
        return [left, top, left + width, top + height]

    for _ in range(number):
        true = [
            {"box": box(), "label": int(rng.integers(3)), "crowd": bool(rng.random() < 0.2)}
            for _ in range(rng.integers(5))
        ]
        near = [item for item in true for _ in range(rng.integers(4))]
        items = [
            {"box": (np.array(item["box"]) + rng.integers(-3, 4, 4)).tolist(), "label": item["label"]} for item in near
        ]
        items += [{"box": box(), "label": int(rng.integers(3))} for _ in range(rng.integers(4))]
        samples.append(sample(true))
        predictions.append(detections_of([item | {"score": rng.random()} for item in items]))
    return samples, predictions
