"""A classifier as evaluate and a server have it, images for it, and the bare forward that both are compared with."""

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.parts import sample_data
from pipeline import checkpoint, device, shards, store
from pipeline.learners.base import Learner, Settings
from pipeline.sample import Sample

IMAGES, HEIGHT, WIDTH, SIDE, CLASSES = 64, 375, 500, 224, 10


def stored_model(folder: Path) -> Path:
    """ResNet-50 for 224², untrained, at rest."""
    names, mean, std = tuple(map(str, range(CLASSES))), (0.45,) * 3, (0.25,) * 3
    settings = dataclasses.asdict(Settings(names, (), (1,) * CLASSES, 3, SIDE, mean, std))
    description: dict[str, Any] = {"task": "classification", "architecture": "resnet", "options": {"depth": 50}}
    description |= {"loss": {}, "settings": settings}
    with store.folder(folder, "benchmark") as path:
        checkpoint.save(path, checkpoint.build(description), description)
    return folder


def jpegs() -> list[bytes]:
    """64 photographs of 500×375 as files."""
    encoded = []
    for pixels in sample_data.photographs(IMAGES, HEIGHT, WIDTH):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=90)
        encoded.append(file.getvalue())
    return encoded


def stored_images(path: Path) -> shards.Shards:
    """The same, as a prepared split."""
    pairs = zip(sample_data.photographs(IMAGES, HEIGHT, WIDTH), jpegs(), strict=True)
    samples = ((Sample(str(at), pixels, label=at % CLASSES), data) for at, (pixels, data) in enumerate(pairs))
    shards.write_rows(path, shards.SCHEMA, (shards.to_row(item, data) for item, data in samples))
    return shards.Shards([path])


def bare_forward(learner: Learner) -> Callable[[], None]:
    """Class probabilities of a batch of decoded and scaled images that lies on the device."""
    images = torch.randint(0, 255, (IMAGES, 3, SIDE, SIDE), dtype=torch.uint8, device=device.choose())

    @torch.inference_mode()
    def forward() -> None:
        learner.network(learner.normalize(images)).softmax(dim=1).cpu()

    return forward
