"""What prepare costs beside decoding the JPEGs: one process, none of the images measured before."""

import tempfile
from pathlib import Path

from PIL import Image

from benchmarks import scale
from benchmarks.parts import photographs, ratios

TITLE = "CPU of Pillow decoding the same 200 JPEGs, 500×375; ours preparing them in one process"
NEEDS = ()
IMAGES = 200


def measure() -> ratios.Ratio:
    """CPU seconds, on which other work of the machine falls less."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        photographs.make(root / scale.PATH, range(IMAGES), scale.WIDTH)
        files = sorted(root.rglob("*.jpg"))

        def decode() -> None:
            for path in files:
                with Image.open(path) as image:
                    image.load()

        return ratios.ratio(lambda: scale.prepare_anew(root), decode, 5, clock=ratios.cpu)
