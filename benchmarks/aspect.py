"""Stretch beside letterbox and crop where classes differ by their aspect alone: circles and ellipses on wide canvases.

`python -m benchmarks.aspect` trains one small network with each fit, from several seeds, on a made set: each canvas has
an aspect of its own, from 1:2 to 2:1, so that a stretched circle looks like an ellipse. It prints test scores with
their 95 % intervals. As one of `python -m benchmarks` it gives the ratio of seconds in which images become inputs.
"""

import contextlib
import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchmarks.parts import ratios, sample_data
from pipeline import params, store
from pipeline.augment.fit import Fit
from pipeline.evaluate import stage as evaluate_stage
from pipeline.prepare import stage as prepare_stage
from pipeline.sample import Sample
from pipeline.train import loop
from pipeline.train import stage as train_stage
from pipeline.train.ranks import Ranks

TITLE = "64 images stretched; ours padded by `fit: letterbox`, 500×375 to 224"
NEEDS = ()
IMAGES, HEIGHT, WIDTH, SIDE = 64, 375, 500, 224
#: of the made set: images by split and class, the canvas's area in pixels, an ellipse's long axis over its short one
COUNTS, AREA, ELLIPSE = {"train": 160, "val": 40, "test": 100}, 96 * 96, 1.6
FITS, SEEDS = ("stretch", "letterbox", "crop"), (0, 1, 2)
JOB: dict[str, Any] = {
    "task": "classification",
    "architecture": "resnet",
    "options": {"depth": 20, "width": 8},
    "dataset": "shapes",
    "size": 48,
    "channels": 1,
    "epochs": 20,
    "batch": 32,
    "lr": 0.05,
    "weight_decay": 0.001,
    "warmup": 1.0,
}


def measure() -> ratios.Ratio:
    """The same images by both fits."""
    samples = [Sample("", pixels) for pixels in sample_data.photographs(IMAGES, HEIGHT, WIDTH)]

    def through(mode: str) -> None:
        for item in samples:
            Fit(SIDE, mode).forward(item)

    return ratios.ratio(lambda: through("letterbox"), lambda: through("stretch"))


def main() -> int:
    """Print the scores of each fit and seed."""
    torch.set_num_threads(1)
    print("| fit | seed | test top1 [95 %] |")
    print("|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw(root / "data/raw/shapes")
        jobs = {f"{fit}-{seed}": {**JOB, "fit": fit, "seed": seed} for fit in FITS for seed in SEEDS}
        datasets = {"shapes": {"format": "image_folder", "path": "data/raw/shapes"}}
        written = params.Params.model_validate({"datasets": datasets, "jobs": jobs, "evaluate": {"pictures": 0}})
        with contextlib.redirect_stdout(io.StringIO()):
            prepare_stage.run(written, root)
        for name, job in written.jobs.items():
            scores = _score(root, name, job, written)
            low, high = scores["top1_low"], scores["top1_high"]
            print(f"| {job.fit} | {job.seed} | {scores['top1']:.3f} [{low:.3f}, {high:.3f}] |", flush=True)
    return 0


def draw(folder: Path) -> None:
    """Write the made set as a folder of images by split and class."""
    generator = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for name, ratio in (("circle", 1.0), ("ellipse", ELLIPSE)):
            for number in range(count):
                path = folder / split / name / f"{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(_shape(ratio, generator)).save(path)


def _shape(ratio: float, generator: np.random.Generator) -> NDArray[np.uint8]:
    """A bright ellipse upright or lying in the middle of a dark canvas, both of random shades and sizes."""
    aspect = np.exp(generator.uniform(-np.log(2), np.log(2)))
    width, height = round(np.sqrt(AREA * aspect)), round(np.sqrt(AREA / aspect))
    long_axis = generator.uniform(0.5, 0.85) * min(width, height)
    axes = np.array([long_axis, long_axis / ratio])[:: generator.choice([1, -1])]
    centre = np.array([width, height]) / 2 + generator.uniform(-2, 2, 2)
    background, shade = generator.uniform(20, 90), generator.uniform(140, 240)
    canvas = Image.new("L", (4 * width, 4 * height), round(background))
    ImageDraw.Draw(canvas).ellipse((*(4 * (centre - axes / 2)), *(4 * (centre + axes / 2))), fill=round(shade))
    pixels = np.asarray(canvas.resize((width, height), Image.Resampling.BOX), np.float64)
    noisy = pixels + generator.normal(0, 6, pixels.shape)
    return np.repeat(noisy.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def _score(root: Path, name: str, job: params.Job, written: params.Params) -> dict[str, Any]:
    """Train and evaluate one job in this process."""
    job_spec = train_stage.job_spec(name, job, written, root)
    loop.train(job_spec, Ranks())
    target = root / "evaluations" / name
    target.mkdir(parents=True)
    plan = evaluate_stage.Plan(written.evaluate)
    evaluate_stage.evaluate(target, root, evaluate_stage.Model(job_spec.model, None), job, plan)
    scores: dict[str, Any] = store.read_json(target / "scores.json")
    return scores


if __name__ == "__main__":
    sys.exit(main())
