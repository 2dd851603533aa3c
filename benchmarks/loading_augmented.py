"""What reading and augmenting images for training costs beside decoding the JPEGs that they came from."""

from typing import Any

from benchmarks import loading
from benchmarks.parts import ratios

TITLE = "Pillow decoding the same 64 JPEGs, 500×375; ours from a view at 224: flip, crop, shift, rotation, contrast"
NEEDS = ()
POLICY: list[dict[str, dict[str, Any]]] = [
    {"horizontal_flip": {}},
    {"crop": {}},
    {"shift": {}},
    {"rotation": {}},
    {"contrast": {}},
]


def measure() -> ratios.Ratio:
    """An epoch of 64 images on both sides."""
    return loading.beside_decoding(POLICY)
