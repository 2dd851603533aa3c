"""Which network with published weights first jobs start from: one whose weights are at hand, else one to be fetched.

Files in the project's folder `weights/`, named as the network, come first: where there is no connection, a person puts
one there. Then weights that were fetched before, and last those whose server answers.
"""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from pipeline import pretrained_weights
from pipeline.recipes.parts.wishes import Published

#: folder of a project, and the suffixes of files of weights
FOLDER, SUFFIXES = "weights", (".safetensors", ".pth", ".pt")
#: networks, the best for a few images on a few cores first: name of the weights, architecture, its network, side
CHOICES = (
    (None, "timm", "tf_efficientnet_lite0", 224),
    ("EfficientNet_B0_Weights.IMAGENET1K_V1", "torchvision", "efficientnet_b0", 224),
    ("MobileNet_V3_Large_Weights.IMAGENET1K_V2", "torchvision", "mobilenet_v3_large", 224),
    ("ResNet18_Weights.IMAGENET1K_V1", "torchvision", "resnet18", 224),
)
OFFLINE = "HF_HUB_OFFLINE"
#: seconds that a server has to answer
PATIENCE_S = 2.0


def choose(root: Path) -> Published | None:
    """The network to start from; None where no weights are at hand, nor can any be fetched.

    Where HF_HUB_OFFLINE is set, no server is asked.
    """
    for path in sorted((root / FOLDER).glob("*")):
        if path.suffix in SUFFIXES and (published := _of_file(path)):
            return published
    for name, *network in CHOICES:
        if name is not None and pretrained_weights.path(name).exists():
            return _of(*network, {"weights": name}, name)
    name, *network = next(choice for choice in CHOICES if choice[0] is not None)
    if not os.environ.get(OFFLINE) and _answers(pretrained_weights.url(name)):
        return _of(*network, {"weights": name}, f"{name}, to be fetched")
    return None


def how_to_bring() -> str:
    """What to do where no weights are at hand."""
    names = ", ".join(network for _, _, network, _ in CHOICES)
    return f"To start from some, put a file of torchvision's or timm's into {FOLDER}/, named as its network: {names}."


def _of(architecture: str, network: str, size: int, pretrained: dict[str, str], origin: str) -> Published:
    return Published(architecture, {"name": network}, pretrained, size, origin)


def _of_file(path: Path) -> Published | None:
    """The network that a file is named as."""
    for _, architecture, network, size in CHOICES:
        if path.stem == network:
            return _of(architecture, network, size, {"file": f"{FOLDER}/{path.name}"}, f"{FOLDER}/{path.name}")
    return None


def _answers(url: str) -> bool:
    address = urlsplit(url)
    try:
        with socket.create_connection((address.hostname or "", address.port or 443), PATIENCE_S):
            return True
    except OSError:
        return False
