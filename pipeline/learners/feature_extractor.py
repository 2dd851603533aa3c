"""What a classifier makes of images: what its last layer reads of them, and which classes it sees.

It is another job's, or the network of 2015 that published FIDs are measured with, whose images are brought to its size
and range as that measurement does it: by TensorFlow's bilinear, not rounded, (x − 128) / 128.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pipeline import store
from pipeline.learners.base import Learner, Settings
from pipeline.models.parts import inception_2015
from pipeline.models.parts.feature_maps import inputs
from pipeline.models.parts.spec import anatomy

LUMINANCE = (0.299, 0.587, 0.114)
Floats = NDArray[np.float32]
#: features B×D and probabilities of classes B×K
Seen = tuple[Floats, Floats]


class Reference(Learner):
    """The Inception network of 2015."""

    def normalize(self, images: Tensor) -> Tensor:
        """Pixels 0..255 of any size → −1..1 of 299×299."""
        return (inception_2015.resized(images.float()) - 128) / 128


def reference(file: Path) -> Reference:
    """The network with a file's weights, named after these."""
    classes = tuple(map(str, range(inception_2015.CLASSES)))
    known = Settings(classes, (), (0,) * len(classes), 3, inception_2015.SIZE, (0.5,) * 3, (0.5,) * 3)
    learner = Reference(inception_2015.read(file), known)
    learner.name = f"inception@{store.file_digest(file)[:12]}"
    return learner.eval()


class Memory:
    """What an extractor makes of batches of images, each asked once: in this process, and beyond it in a folder.

    The folder is for this extractor alone; a batch is found by the digest of its bytes, so what differs is never taken
    for it. A damaged entry is made again.
    """

    def __init__(self, extractor: Learner, folder: Path | None = None) -> None:
        self.extractor, self.folder = extractor, folder
        self.known: dict[str, Seen] = {}

    def seen(self, images: Tensor) -> Seen:
        """As `seen`, for B×C×S×S uint8."""
        pixels = images.cpu().contiguous().numpy()
        key = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).hexdigest()
        if key not in self.known:
            self.known[key] = seen(self.extractor, images) if self.folder is None else self._kept(key, images)
        return self.known[key]

    def _kept(self, key: str, images: Tensor) -> Seen:
        assert self.folder is not None
        path = self.folder / key
        if not store.holds(path, key):
            features, shares = seen(self.extractor, images)
            with store.folder(path, key) as made:
                np.savez(made / "seen.npz", features=features, shares=shares)
        os.utime(self.folder)  # the least recently used goes first
        with np.load(path / "seen.npz") as found:
            return found["features"], found["shares"]


def head(extractor: Learner) -> str | None:
    """The name of its last layer; None where it is no classifier."""
    return anatomy(extractor.network).head


def seen(extractor: Learner, images: Tensor) -> Seen:
    """B×C×S×S uint8 → features B×D and probabilities of classes B×K, of images in its own channels and size."""
    wanted, values = extractor.settings, images.float()
    if wanted.channels < values.shape[1]:
        values = (values * torch.tensor(LUMINANCE, device=values.device).view(1, 3, 1, 1)).sum(1, keepdim=True)
    values = values.expand(-1, wanted.channels, -1, -1)
    if wanted.size != values.shape[-1] and not isinstance(extractor, Reference):
        values = F.interpolate(values, (wanted.size, wanted.size), mode="bilinear", antialias=True)
    with (
        inputs(extractor.network, str(head(extractor))) as read,
        torch.no_grad(),
        torch.autocast(images.device.type, enabled=False),
    ):  # the same numbers in training as on the CPU
        logits = extractor.network(extractor.normalize(values.round().clamp(0, 255)))
    features, shares = (found.float().cpu().numpy() for found in (read[0], logits.softmax(dim=1)))
    return np.asarray(features, np.float32), np.asarray(shares, np.float32)
