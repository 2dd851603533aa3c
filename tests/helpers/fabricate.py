"""Writes a finished project into a folder: every file that the report reads, without training."""

import csv
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.images import encode_png
from pipeline.params import Job, Params
from pipeline.sample import Facts, Sample
from pipeline.shards import write_shard
from pipeline.store import read_json, write_bytes, write_json


def params(jobs: dict[str, Job]) -> Params:
    """Params without the checks that need plug-ins."""
    datasets = {job.dataset: {"format": "digits"} for job in jobs.values()}
    return Params.model_validate({"roster": "all", "datasets": datasets, "jobs": jobs})


def job(architecture: str, *, task: str = "classification", dataset: str = "digits") -> Job:
    """A job with the settings that the report reads."""
    return Job.model_validate({"task": task, "architecture": architecture, "dataset": dataset, "augmentation": "light"})


def measured(root: Path, name: str, job: Job, scores: dict[str, float], *, higher: bool = True, seed: int = 0) -> None:
    """A job that succeeded; the first of `scores` is its primary metric."""
    primary = next(iter(scores))
    flat: dict[str, Any] = {"job": name, "task": job.task, "architecture": job.architecture, "dataset": job.dataset}
    flat |= {"primary": primary, "higher_is_better": higher, f"val_{primary}": scores[primary]}
    for metric, value in scores.items():
        margin = 0.02 * abs(value) + 0.002
        flat |= {metric: value, f"{metric}_low": value - margin, f"{metric}_high": value + margin}
    write_json(root / "metrics" / f"{name}.json", flat)
    _model(root / "models" / name, name, job, primary, scores[primary], higher)
    for picture in ("examples", "failures", "figure-confusion"):
        write_bytes(root / "evaluations" / name / f"{picture}.png", _picture(seed))
    _counts(root, name, job, 400 * 7**seed)
    latency = 0.08 * 3.1**seed
    times = {"latency_ms": latency, "latency_low_ms": latency * 0.9, "latency_high_ms": latency * 1.2}
    times |= {"throughput_images_per_s": 900, "train_s": 4.2 * 2**seed, "train_images_per_s": 700}
    _merge(root / "reports" / "speed.json", {name: times | {"processor": "Z80", "threads": 2, "device": "cpu"}})


def inspected(root: Path, name: str, job: Job, wrong: int) -> None:
    """A classifier's weights, class distances and rows; it predicts class 2 for image `wrong`, with confidence 0.9."""
    prepared = root / "data" / "prepared" / job.dataset
    prepared.mkdir(parents=True, exist_ok=True)
    pictures = np.random.default_rng(1).integers(0, 255, (6, 8, 8, 3), dtype=np.uint8)
    samples = [Sample(str(index), picture, label=index % 2) for index, picture in enumerate(pictures)]
    write_shard(prepared / "test-00000.arrow", samples)
    predicted = [2 if index == wrong else index % 2 for index in range(6)]
    rows = {"id": list("012345"), "label": [0, 1] * 3, "prediction": predicted, "confidence": [0.9] * 6}
    folder = root / "evaluations" / name
    pq.write_table(pa.table(rows), folder / "test.parquet")
    write_bytes(folder / "seeing-first-layer.png", _picture(7))
    indices = {"most_typical": 1, "least_typical": 3}
    distances = {"within": 0.5, "between": 1.2, "to_nearest": 0.9}
    classes = [{"class": name, "nearest": other, **distances, **indices} for name, other in (("<1", "1"), ("1", "<1"))]
    write_json(folder / "seeing.json", {"first_layer": [6, 1, 5, 5], "images": 6, "features": 84, "classes": classes})


def failed(root: Path, name: str, reason: str) -> None:
    """A job that failed."""
    _merge(root / "models" / "failed.json", {name: {"reason": reason}})


def champion(root: Path, name: str, job: Job, challenger: str) -> None:
    """A registry entry that keeps its champion."""
    entry = {
        "champion": {"job": name, "fingerprint": f"{name:0<12}"},
        "challenger": {"job": challenger, "fingerprint": f"{challenger:0<12}"},
        "previous": None,
        "models": {f"{name:0<12}": name, f"{challenger:0<12}": challenger},
        "decision": {
            "text": f"{name} stays: {challenger} is not clearly better on the same test images.",
            "metric": "top1",
            "difference": 0.004,
            "low": -0.006,
            "high": 0.014,
        },
    }
    _merge(root / "reports" / "registered.json", {f"{job.dataset}-{job.task}": entry})


def dataset(root: Path, name: str, *, classes: int = 10, warnings: tuple[str, ...] = ()) -> None:
    """A prepared dataset and the contact sheet of its augmentation."""
    facts = Facts(
        format="digits",
        classes=tuple(str(number) for number in range(classes)),
        semantic_classes=(),
        counts={"train": 1078, "val": 359, "test": 360},
        class_counts=tuple(90 + 7 * (number % 4) for number in range(classes)),
        fields=("label",),
        mean={"1": [0.3]},
        std={"1": [0.4]},
        warnings=warnings,
    )
    write_json(root / "data" / "prepared" / name / "dataset.json", asdict(facts))
    write_bytes(root / "data" / "augmented" / f"{name}-light" / "contact_sheet.png", _picture(9))


def _model(path: Path, name: str, job: Job, primary: str, final: float, higher: bool) -> None:
    write_json(path / "model.json", {"task": job.task, "best_epoch": 11, "fingerprint": f"{name:0<12}"})
    start = 0.1 if higher else final * 6
    with (path / "history.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["epoch", "step", "train/lr", "train/loss", f"val/{primary}"])
        for epoch in range(12):
            decay = math.exp(-epoch / (1.5 + len(name) % 3))
            rows.writerow([epoch, epoch * 17, 0.05, 0.02 + 2.3 * decay, final + (start - final) * decay])


def _counts(root: Path, name: str, job: Job, parameters: int) -> None:
    counted = {
        "settings": {"input": [1, 32, 32], "classes": 10},
        "published": None,
        "parameters": parameters,
        "multiply_adds": parameters * 7,
        "receptive_field": 14,
        "activation_bytes": parameters * 3,
        "stride": 4,
    }
    paper = counted | {"published": 60_000, "parameters": 61_706}
    _merge(root / "reports" / "parameters.json", {job.architecture: {"paper": paper, "jobs": {name: counted}}})


def _merge(path: Path, value: dict[str, Any]) -> None:
    write_json(path, read_json(path, {}) | value)


def _picture(seed: int) -> bytes:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(60, 250, (10, 20, 3), dtype=np.uint8)
    return encode_png(coarse.repeat(24, axis=0).repeat(24, axis=1))
