"""COCO's mAP beside pycocotools: 500 images of 8 objects and 50 detections, 20 classes, boxes.

Both start from arrays or records in memory and end with the twelve numbers. pycocotools is no dependency: install it
to measure this.
"""

import contextlib
import importlib
import io
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.parts import ratios
from pipeline.learners.base import Settings
from pipeline.learners.detector import Detections
from pipeline.sample import Sample
from pipeline.tasks import detection

TITLE = "pycocotools: mAP of 500 images with 50 detections each, 20 classes"
NEEDS = ("pycocotools",)
IMAGES, OBJECTS, DETECTIONS, CLASSES, SIDE = 500, 8, 50, 20, 512


def measure() -> ratios.Ratio:
    """The same mAP, AP50 and AR100 on both sides."""
    generator = np.random.default_rng(0)
    samples, detections = zip(*(_image(generator, number) for number in range(IMAGES)), strict=True)
    settings = Settings(tuple(map(str, range(CLASSES))), (), (), 3, SIDE, (0.5,) * 3, (0.5,) * 3)
    truth, guesses = _records(samples, detections)
    coco = importlib.import_module("pycocotools.coco").COCO
    evaluator = importlib.import_module("pycocotools.cocoeval").COCOeval

    def ours() -> dict[str, float]:
        rows = [detection.rows(*pair) for pair in zip(samples, detections, strict=True)]
        return detection.scorer(pa.Table.from_pylist(rows), settings)(np.ones(IMAGES, np.int64))

    def peer() -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            there = coco()
            there.dataset = truth
            there.createIndex()
            judge = evaluator(there, there.loadRes([dict(guess) for guess in guesses]), "bbox")
            judge.evaluate()
            judge.accumulate()
            judge.summarize()
        return judge.stats

    scores, stats = ours(), peer()
    assert np.allclose([scores["box_mAP"], scores["box_AP50"], scores["box_AR100"]], stats[[0, 1, 8]], atol=1e-9)
    return ratios.ratio(ours, peer, pairs=5)


def _image(generator: np.random.Generator, number: int) -> tuple[Sample, Detections]:
    """Objects at whole pixels, and detections that are mostly near an object."""
    corners = generator.integers(0, SIDE - 160, (OBJECTS, 2))
    boxes = np.concatenate([corners, corners + generator.integers(16, 160, (OBJECTS, 2))], axis=1).astype(np.float64)
    labels = generator.integers(0, CLASSES, OBJECTS)
    of = generator.integers(0, OBJECTS, DETECTIONS)
    guesses = (boxes[of] + np.round(generator.normal(0, 6, (DETECTIONS, 4)))).clip(0, SIDE)
    guesses[:, 2:] = np.maximum(guesses[:, 2:], guesses[:, :2] + 1)
    guessed = np.where(generator.random(DETECTIONS) < 0.8, labels[of], generator.integers(0, CLASSES, DETECTIONS))
    image = np.broadcast_to(np.uint8(0), (SIDE, SIDE, 3))
    sample = Sample(str(number), image, boxes=boxes.astype(np.float32), labels=labels)
    return sample, Detections(guesses / SIDE, guessed, generator.random(DETECTIONS))


def _records(
    samples: tuple[Sample, ...], detections: tuple[Detections, ...]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """COCO's annotations, and its list of results."""
    truth: dict[str, Any] = {"images": [], "annotations": [], "info": {}}
    truth["categories"] = [{"id": number, "name": str(number)} for number in range(CLASSES)]
    guesses = []
    for number, (sample, one) in enumerate(zip(samples, detections, strict=True), start=1):
        truth["images"].append({"id": number, "height": SIDE, "width": SIDE})
        for (left, top, right, bottom), label in zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True):  # type: ignore[union-attr]
            box, annotation_id = [left, top, right - left, bottom - top], len(truth["annotations"]) + 1
            entry = {"id": annotation_id, "image_id": number, "category_id": label, "iscrowd": 0}
            truth["annotations"].append({**entry, "bbox": box, "area": box[2] * box[3]})
        for (left, top, right, bottom), label, score in zip(
            one.boxes_in_pixels(SIDE, SIDE), one.labels, one.scores, strict=True
        ):
            guess = {"image_id": number, "category_id": int(label), "score": float(score)}
            guesses.append({**guess, "bbox": [left, top, right - left, bottom - top]})
    return truth, guesses
