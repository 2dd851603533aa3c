"""The peer in segmentation: U-Net of segmentation_models_pytorch on timm's encoder."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.strength.training import Epochs, anneal, batches, settings_of, step
from pipeline import sample, shards, timm_weights
from pipeline.learners.segmenter import LabelMap
from pipeline.sample import Sample

SIDE = 256


def networks(prepared: Path, weights: Path) -> dict[str, Epochs]:
    """The peers of the task, by name."""
    return {"smp's U-Net": _unet(prepared, weights)}


def _unet(prepared: Path, weights: Path) -> Epochs:
    import segmentation_models_pytorch as smp
    from safetensors.torch import load_file

    stored, classes = shards.split(prepared, "train"), len(settings_of(prepared).semantic_classes)
    network = smp.Unet(f"tu-{weights.stem}", encoder_weights=None, classes=classes)
    network.encoder.model.load_state_dict(load_file(weights), strict=False)
    dice = smp.losses.DiceLoss(smp.losses.MULTICLASS_MODE, ignore_index=sample.IGNORE)
    descent = torch.optim.Adam(network.parameters(), 1e-3)
    mean, std = timm_weights.normalization(weights.stem)

    def scaled(pixels: NDArray[np.uint8]) -> Tensor:
        small = Image.fromarray(pixels).resize((SIDE,) * 2, Image.Resampling.BILINEAR)
        return (torch.from_numpy(np.asarray(small) / 255 - mean) / torch.tensor(std)).permute(2, 0, 1).float()

    def truth(ids: NDArray[np.uint8]) -> Tensor:
        small = Image.fromarray(ids).resize((SIDE,) * 2, Image.Resampling.NEAREST)
        return torch.from_numpy(np.asarray(small).astype(np.int64))

    @torch.inference_mode()
    def predict(item: Sample) -> LabelMap:
        logits = network(scaled(item.pixels)[None])
        whole = F.interpolate(logits, item.pixels.shape[:2], mode="bilinear")
        return LabelMap(whole[0].argmax(dim=0).numpy().astype(np.uint8), classes)

    while True:
        network.train()
        for chosen in batches(len(stored), 4):
            items = [stored[index] for index in chosen]
            images, ids = _stack(items, scaled), torch.stack([truth(_ids(item)) for item in items])
            if torch.rand(()) < 0.5:
                images, ids = images.flip(-1), ids.flip(-1)
            step(descent, dice(network(images), ids))
        network.eval()
        anneal(descent, 1e-3, (yield predict))


def _stack(items: Sequence[Sample], scaled: Callable[[NDArray[np.uint8]], Tensor]) -> Tensor:
    return torch.stack([scaled(item.pixels) for item in items])


def _ids(item: Sample) -> NDArray[np.uint8]:
    assert item.semantic is not None
    return item.semantic
