"""Features and class probabilities of images by a classifier; features are the inputs of its last layer.

The classifier is another job's, or the Inception network of 2015 that published FIDs use. Images for that network are
resized and scaled as in the published code: TensorFlow's bilinear resize, without rounding, (x − 128) / 128.
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
#: features B×D and class probabilities B×K
Extracted = tuple[Floats, Floats]
#: file of a stored batch
FILE = "features.npz"


class InceptionReference(Learner):
    """The Inception network of 2015."""

    def normalize(self, images: Tensor) -> Tensor:
        """Pixels 0..255 of any size → −1..1 of 299×299."""
        return (inception_2015.resized(images.float()) - 128) / 128


def load_inception(file: Path) -> InceptionReference:
    """The network with the weights of a file; its name holds their digest."""
    classes = tuple(map(str, range(inception_2015.CLASSES)))
    settings = Settings(classes, (), (0,) * len(classes), 3, inception_2015.SIZE, (0.5,) * 3, (0.5,) * 3)
    learner = InceptionReference(inception_2015.read(file), settings)
    learner.name = f"inception@{store.file_digest(file)[:12]}"
    return learner.eval()


class FeatureCache:
    """Features of batches of images, computed once: kept in this process, and in a folder if one is given.

    The folder belongs to one extractor. A batch is looked up by the digest of its bytes; a damaged entry is computed
    again.
    """

    def __init__(self, extractor: Learner, folder: Path | None = None) -> None:
        self.extractor, self.folder = extractor, folder
        self.batches: dict[str, Extracted] = {}

    def extract(self, images: Tensor) -> Extracted:
        """`extract` for B×C×S×S uint8, from the cache if the batch is in it."""
        pixels = images.cpu().contiguous().numpy()
        key = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=16).hexdigest()
        if key not in self.batches:
            self.batches[key] = extract(self.extractor, images) if self.folder is None else self._stored(key, images)
        return self.batches[key]

    def _stored(self, key: str, images: Tensor) -> Extracted:
        assert self.folder is not None
        path = self.folder / key
        if not store.holds(path, key):
            features, probabilities = extract(self.extractor, images)
            with store.folder(path, key) as new_folder:
                np.savez(new_folder / FILE, features=features, probabilities=probabilities)
        os.utime(self.folder)  # the least recently used goes first
        with np.load(path / FILE) as arrays:
            return arrays["features"], arrays["probabilities"]


def head(extractor: Learner) -> str | None:
    """The name of the last layer; None if the network is no classifier."""
    return anatomy(extractor.network).head


def extract(extractor: Learner, images: Tensor) -> Extracted:
    """B×C×S×S uint8 → features B×D and class probabilities B×K; images get the extractor's channels and size first."""
    settings, values = extractor.settings, images.to(extractor.mean.device).float()
    if settings.channels < values.shape[1]:
        values = (values * torch.tensor(LUMINANCE, device=values.device).view(1, 3, 1, 1)).sum(1, keepdim=True)
    values = values.expand(-1, settings.channels, -1, -1)
    if settings.size != values.shape[-1] and not isinstance(extractor, InceptionReference):
        values = F.interpolate(values, (settings.size, settings.size), mode="bilinear", antialias=True)
    with (
        inputs(extractor.network, str(head(extractor))) as read,
        torch.no_grad(),
        torch.autocast(values.device.type, enabled=False),
    ):  # the same numbers in training as on the CPU
        logits = extractor.network(extractor.normalize(values.round().clamp(0, 255)))
    features, probabilities = (tensor.float().cpu().numpy() for tensor in (read[0], logits.softmax(dim=1)))
    return np.asarray(features, np.float32), np.asarray(probabilities, np.float32)
