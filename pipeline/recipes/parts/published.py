"""Which network with published weights first jobs start from: one whose weights are at hand, else one to be fetched.

A file in the project's folder `weights/`, named as its network in timm, comes first: where there is no connection, a
person puts it there. Then weights that were fetched before, and last those whose server answers.
"""

import difflib
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from pipeline import pretrained_weights
from pipeline.errors import UserError
from pipeline.recipes.parts.wishes import Published

#: folder of a project, and the suffixes of files of weights
FOLDER, SUFFIXES = "weights", (".safetensors", ".pth", ".pt")
#: networks, the best for a few images on a few cores first: name of the weights, architecture, name of the network, side
CHOICES = (
    ("timm/tf_efficientnet_lite0.in1k", "timm", "tf_efficientnet_lite0", 224),
    ("EfficientNet_B0_Weights.IMAGENET1K_V1", "torchvision", "efficientnet_b0", 224),
    ("MobileNet_V3_Large_Weights.IMAGENET1K_V2", "torchvision", "mobilenet_v3_large", 224),
    ("ResNet18_Weights.IMAGENET1K_V1", "torchvision", "resnet18", 224),
)
EXAMPLE = "tf_efficientnet_lite0.safetensors"
OFFLINE = "HF_HUB_OFFLINE"
#: seconds that a server has to answer
PATIENCE_S = 2.0


def choose(root: Path) -> Published | None:
    """The network to start from; None where no weights are at hand, nor can any be fetched.

    Where HF_HUB_OFFLINE is set, no server is asked.
    """
    for path in sorted((root / FOLDER).glob("*")):
        if path.suffix in SUFFIXES:
            return _of_file(path)
    for name, architecture, network, size in CHOICES:
        if pretrained_weights.path(name).exists():
            return Published(architecture, {"name": network}, {"weights": name}, size, name)
    name, architecture, network, size = CHOICES[0]
    if not os.environ.get(OFFLINE) and _answers(pretrained_weights.url(name)):
        return Published(architecture, {"name": network}, {"weights": name}, size, f"{name}, to be fetched")
    return None


def how_to_bring() -> str:
    """What to do where no weights are at hand."""
    return f"To start from some, put a file into {FOLDER}/, named as its network in timm: {EXAMPLE}."


def _of_file(path: Path) -> Published:
    """The network that a file is named as; UserError if timm has none of this name."""
    import timm

    if not timm.is_model(path.stem):
        near = difflib.get_close_matches(path.stem, timm.list_models(), n=3, cutoff=0.5)
        remedy = f"Name it as its network, as in {EXAMPLE}, or move it elsewhere."
        similar = f"; similar: {', '.join(near)}" if near else ""
        raise UserError(f"{FOLDER}/{path.name}: timm has no network {path.stem!r}{similar}. {remedy}")
    size = int(timm.get_pretrained_cfg(path.stem).input_size[-1])
    name = f"{FOLDER}/{path.name}"
    return Published("timm", {"name": path.stem}, {"file": name}, size, name)


def _answers(url: str) -> bool:
    address = urlsplit(url)
    try:
        with socket.create_connection((address.hostname or "", address.port or 443), PATIENCE_S):
            return True
    except OSError:
        return False
