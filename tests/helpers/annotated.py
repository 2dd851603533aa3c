"""A sample with one object and every annotation that an image can have."""

import numpy as np

from pipeline.geometry import rle
from pipeline.sample import Sample

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
SQUARE = np.pad(np.ones((24, 24), np.bool_), 20)
BOXES = np.array([[20, 20, 44, 44]], np.float32)
SAMPLE = Sample(
    "x",
    PIXELS,
    label=0,
    boxes=BOXES,
    labels=np.zeros(1, np.int64),
    masks=[rle.encode(SQUARE)],
    keypoints=np.array([[[30, 30, 2]]], np.float32),
    semantic=SQUARE.astype(np.uint8),
    proposals=BOXES,
)
