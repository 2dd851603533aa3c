"""What reading images for training costs beside decoding the JPEGs that they came from.

Images are decoded and scaled once, into a view; a training epoch reads it memory-mapped and stacks batches. One process
and one thread on both sides.
"""

import io
import tempfile
from pathlib import Path

import torch
from PIL import Image

from benchmarks.parts import ratios, sample_data
from pipeline import shards
from pipeline.augment.fit import Fit
from pipeline.augment.policy import Settings
from pipeline.learners import base
from pipeline.params import Job
from pipeline.sample import Sample
from pipeline.train import loader, view

TITLE = "Pillow decoding the same 64 JPEGs, 500×375; ours read from a view at 224 and batched"
NEEDS = ()
IMAGES, HEIGHT, WIDTH, SIDE = 64, 375, 500, 224


def measure() -> ratios.Ratio:
    """An epoch of 64 images on both sides."""
    return beside_decoding([])


def beside_decoding(policy: Settings) -> ratios.Ratio:
    """An epoch of 64 images by a policy, and their decoding."""
    torch.set_num_threads(1)
    photographs = sample_data.photographs(IMAGES, HEIGHT, WIDTH)
    files = []
    for pixels in photographs:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    job = Job(task="classification", architecture="linear", dataset="photographs", size=SIDE, epochs=1)
    learnt = base.Settings(("a",), (), (IMAGES,), 3, SIDE, (0.5,) * 3, (0.5,) * 3)
    with tempfile.TemporaryDirectory() as folder:
        samples = (Sample(str(number), pixels, label=0) for number, pixels in enumerate(photographs))
        rows = (shards.to_row(item, data) for item, data in zip(samples, files, strict=True))
        shards.write_rows(Path(folder) / "train-0.arrow", shards.SCHEMA, rows)
        kept = shards.split(Path(folder), "train")
        stored = loader.Samples(kept, Fit(SIDE), policy=policy)
        view.bring(Path(folder) / "views/train", kept, stored.fit, limit=10**9)
        stored.view = view.opened(Path(folder) / "views/train")
        loaded = loader.Loader(stored, job, learnt)

        def decode() -> None:
            for data in files:
                with Image.open(io.BytesIO(data)) as image:
                    image.convert("RGB").load()

        def ours() -> None:
            assert sum(len(images) for images, _ in loaded.batches(loader.Plan(IMAGES, 16, 0))) == IMAGES

        return ratios.ratio(ours, decode)
