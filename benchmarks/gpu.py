"""The pipeline on one GPU: a job of each task in mixed precision, ResNet-50 at 224² from JPEG files, and peak memory.

`python -m benchmarks.gpu` prints it all, on CUDA where there is one; `--small` is a minute's check on a CPU. It needs
neither Ray, MLflow, Prefect nor DVC, so that it runs on a machine that has little but torch. As one of
`python -m benchmarks` it gives the ratio of the loop's steps to those of a bare loop on the same device.
"""

import argparse
import contextlib
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.parts import ratios, sample_data
from pipeline import bootstrap, checkpoint, params, plugins, shards
from pipeline.augment import stage as augment_stage
from pipeline.evaluate import predict
from pipeline.models.parts.spec import Spec, build_network
from pipeline.prepare import stage as prepare_stage
from pipeline.train import history, loop, prefetch
from pipeline.train import stage as train_stage
from pipeline.train.job_state import JobSpec, JobState
from pipeline.train.ranks import Ranks

TITLE = "a bare loop's training steps on the same device, ResNet-50, in bfloat16 where that is CUDA"
NEEDS = ()
#: a job of params.yaml for each task
JOBS = ("linear", "cam", "unet", "faster_rcnn", "mask_rcnn", "mask_rcnn-keypoints", "dcgan")
#: of the JPEG files: number, height and width; the network's side, images a batch
LARGE, SMALL = (4096, 375, 500, 224, 256), (48, 48, 64, 32, 8)
FEW = {"train": 12, "val": 4, "test": 4}
CLASSES, STEPS = 8, 20
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def measure() -> ratios.Ratio:
    """The loop's steps beside a bare loop's, on a batch that lies on the device."""
    sizes = LARGE if DEVICE == "cuda" else SMALL
    with tempfile.TemporaryDirectory() as folder:
        trainer = loop.Trainer(_photographs(Path(folder), SMALL[:3], sizes[3:]), Ranks(device=DEVICE))
        images, labels = _batch(*sizes[3:])
        bare, steps = _bare(images, labels), STEPS if DEVICE == "cuda" else 2

        def ours() -> None:
            trainer.learner.train()
            for _ in range(steps):
                trainer._step((images, labels), 1.0)
            _wait()

        def theirs() -> None:
            for _ in range(steps):
                bare()
            _wait()

        return ratios.ratio(ours, theirs, 5)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description="What one GPU does.")
    parser.add_argument("--small", action="store_true", help="few small images and one epoch, for a CPU")
    small = parser.parse_args().small
    name = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    with tempfile.TemporaryDirectory() as folder:
        throughput(Path(folder), SMALL if small else LARGE)
    with tempfile.TemporaryDirectory() as folder:
        tasks(Path(folder), small=small)


def throughput(folder: Path, sizes: tuple[int, ...]) -> None:
    """ResNet-50 from JPEG files: prepare, training and evaluation in images/s, and a bare loop's bound."""
    number, height, width, size, batch = sizes
    print(f"ResNet-50, {number:,} JPEG files of {width}×{height}, {size}², batch {batch}\n")
    print("| what | images/s | peak GB |\n|---|---|---|")
    job_spec = _photographs(folder, sizes[:3], sizes[3:])
    trainer = loop.Trainer(job_spec, Ranks(device=DEVICE))
    trainer.learner.train()
    plan = trainer._plan(0)
    count, weights = len(trainer.samples), plan.weights()

    def steps() -> Iterator[None]:
        loaded = prefetch.on_device(trainer.train_loader.batches(plan), DEVICE)
        for items, weight in zip(loaded, weights, strict=True):
            trainer._step(items, weight)
            yield

    whole, later = _seconds(steps())
    _row("training, an epoch from the start of its loader", count / whole)
    _row("training, from the first batch on", count * (1 - 1 / len(weights)) / later)
    bare = _bare(*_batch(size, batch))
    _, later = _seconds(bare() for _ in range(STEPS + 1))
    _row("a bare loop on one batch that lies on the device", batch * STEPS / later)
    stored = shards.split(job_spec.prepared, "val")
    ask = predict.predictor(trainer.learner.eval(), "classification")
    seconds, _ = _seconds(predict.rows(ask, stored, "classification") for _ in range(1))
    _row("evaluation, as evaluate does it", len(stored) / seconds)
    print()


def tasks(folder: Path, *, small: bool) -> None:
    """Train a job of each task and what it starts from; ask the weights on this device and on the CPU."""
    selected = params.read(sample_data.ROOT / params.FILE).choose(JOBS)
    if small:
        scenes = selected.datasets["scenes"].model_copy(update={"options": FEW})
        jobs = {name: job.model_copy(update={"epochs": 1}) for name, job in selected.jobs.items()}
        selected = selected.model_copy(update={"jobs": jobs, "datasets": {**selected.datasets, "scenes": scenes}})
    with contextlib.redirect_stdout(io.StringIO()):
        prepare_stage.run(selected, folder)
        augment_stage.run(selected, folder)
    print("| job | task | train losses | best val score | val, stored weights | the same on the CPU | s | peak GB |")
    print("|---|---|---|---|---|---|---|---|")
    for name, job_spec in train_stage.job_specs(selected, folder).items():
        (seconds, _), peak = _seconds(map(_train, [job_spec])), _peak()
        rows, primary = history.read(job_spec.model / history.FILE), JobState.of(job_spec).read()["primary"]
        losses = "finite" if all("train/loss" in row for row in rows) else "NOT FINITE"
        better = max if plugins.load("tasks", job_spec.job.task).HIGHER_IS_BETTER else min
        best = better(row[f"val/{primary}"] for row in rows)
        scores = f"{best:.4f} | {_val(job_spec, DEVICE):.4f} | {_val(job_spec, 'cpu'):.4f}"
        print(f"| {name} | {job_spec.job.task} | {losses} | {scores} | {seconds:.1f} | {peak} |", flush=True)


def _train(job_spec: JobSpec) -> None:
    loop.train(job_spec, Ranks(device=DEVICE))


def _val(job_spec: JobSpec, device: str) -> float:
    """The primary score on val of a trained job's stored weights, in float32 on a device."""
    learner, _ = checkpoint.load(job_spec.model, device)
    if "extractor" in job_spec.sources:
        learner.use_extractor(checkpoint.load(job_spec.sources["extractor"], device)[0])
    task = plugins.load("tasks", job_spec.job.task)
    ask = predict.predictor(learner, job_spec.job.task)
    table, _ = predict.rows(ask, shards.split(job_spec.prepared, "val"), job_spec.job.task)
    scores = task.scorer(table, learner.settings)(np.ones(len(table), np.int64))
    return float(scores[bootstrap.primary(task.PRIMARY, scores)])


def _photographs(folder: Path, sizes: tuple[int, ...], asked: tuple[int, ...]) -> JobSpec:
    """A job for ResNet-50 on JPEG files, prepared; prints how fast that went."""
    (number, height, width), (size, batch) = sizes, asked
    raw = folder / "data/raw/photographs"
    for label in range(CLASSES):
        (raw / f"class{label}").mkdir(parents=True)
    light = np.random.default_rng(1).uniform(0.3, 1.0, number)  # no two are alike

    def write(at: int, pixels: NDArray[np.uint8]) -> None:
        dimmed = (pixels * light[at]).astype(np.uint8)
        Image.fromarray(dimmed).save(raw / f"class{at % CLASSES}" / f"{at}.jpg", quality=90)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(number), sample_data.photographs(number, height, width)))
    job: dict[str, Any] = {
        "task": "classification",
        "architecture": "resnet",
        "options": {"depth": 50},
        "dataset": "photographs",
    }
    job |= {"size": size, "batch": batch, "epochs": 1, "lr": 0.01}
    job |= {"loader_workers": max(1, (os.cpu_count() or 2) - 1) if DEVICE == "cuda" else 0}
    dataset = {"format": "image_folder", "path": "data/raw/photographs"}
    made = params.Params.model_validate({"roster": "all", "datasets": {"photographs": dataset}, "jobs": {"a": job}})
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.chdir(folder):
        prepare_stage.run(made, folder)
        augment_stage.run(made, folder)
    _row("prepare", number / (time.perf_counter() - started))
    return train_stage.job_specs(made, folder)["a"]


def _batch(size: int, batch: int) -> tuple[Tensor, Tensor]:
    images = torch.randint(0, 255, (batch, 3, size, size), dtype=torch.uint8, device=DEVICE)
    return images, torch.randint(0, CLASSES, (batch,), device=DEVICE)


def _bare(images: Tensor, labels: Tensor) -> Callable[[], None]:
    """A step of a loop that does nothing but train, with the settings of ours."""
    spec = Spec("classification", CLASSES, 3, images.shape[-1])
    network = build_network("resnet", spec, {"depth": 50}).to(DEVICE).to(memory_format=torch.channels_last)
    descent = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)

    def step() -> None:
        descent.zero_grad(set_to_none=True)
        values = (images.contiguous(memory_format=torch.channels_last).float() / 255 - 0.4) / 0.2
        with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
            loss = F.cross_entropy(network(values), labels)
        loss.backward()
        descent.step()

    return step


def _seconds(pieces: Iterable[object]) -> tuple[float, float]:
    """Seconds that pieces of work take as they are drawn: all, and all after the first; peak memory begins anew."""
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
    first, started = 0.0, time.perf_counter()
    for _ in pieces:
        if not first:
            _wait()
            first = time.perf_counter()
    _wait()
    ended = time.perf_counter()
    return ended - started, ended - first


def _wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def _peak() -> str:
    return f"{torch.cuda.max_memory_allocated() / 1e9:.2f}" if DEVICE == "cuda" else "-"


def _row(what: str, rate: float) -> None:
    print(f"| {what} | {rate:,.0f} | {_peak()} |", flush=True)


if __name__ == "__main__":
    main()
