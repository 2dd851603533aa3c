"""Batches and pictures that tasks share."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from pipeline import images
from pipeline.sample import Sample

GREEN, RED = (46, 125, 50), (198, 40, 40)
_SIDE, _BAR = 96, 16


def stack(samples: Sequence[Sample], channels: int) -> Tensor:
    """Equal-sized images as uint8 B×C×H×W; luminance where the network sees one channel."""
    if channels == 1:
        return torch.from_numpy(np.stack([images.luminance(sample.pixels) for sample in samples]))[:, None]
    return torch.from_numpy(np.stack([sample.pixels for sample in samples])).permute(0, 3, 1, 2).contiguous()


def captioned(pixels: NDArray[np.uint8], text: str, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The picture at 96 pixels with a coloured caption below."""
    height, width = pixels.shape[:2]
    scale = _SIDE / max(height, width)
    tile = images.resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)), smooth=scale < 1)
    canvas = Image.new("RGB", (_SIDE, _SIDE + _BAR), "black")
    canvas.paste(Image.fromarray(tile), ((_SIDE - tile.shape[1]) // 2, (_SIDE - tile.shape[0]) // 2))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, _SIDE, _SIDE, _SIDE + _BAR), fill=colour)
    draw.text((3, _SIDE + 2), text, fill="white", font_size=11)
    return np.asarray(canvas)
