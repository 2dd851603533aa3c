"""What a second process brings to prepare, where there are two cores."""

import tempfile
from pathlib import Path

from benchmarks import scale
from benchmarks.parts import photographs, ratios

TITLE = "prepare of 1,500 JPEGs, 500×375, by one process; ours by two (0.56 is a speed-up of 1.8)"
NEEDS = ()
IMAGES = 1500


def measure() -> ratios.Ratio:
    """Wall seconds, with the start of the processes."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        photographs.make(root / scale.PATH, range(IMAGES), scale.WIDTH)
        return ratios.ratio(lambda: scale.prepare_anew(root, 2), lambda: scale.prepare_anew(root, 1), 3, warm=False)
