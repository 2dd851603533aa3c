"""As many different JPEGs as asked for, made of two photographs; a module of its own, as other processes import it."""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.parts import sample_data
from pipeline import processes

CLASSES = 5


def make(folder: Path, numbers: range, width: int) -> None:
    """Write JPEGs of random parts of two photographs, in folders of classes; each is another image."""
    chunks = [(folder, range(start, min(start + 200, numbers.stop)), width) for start in numbers[::200]]
    with processes.results(write, chunks) as written:
        for _ in written:
            pass


def write(chunk: tuple[Path, range, int]) -> None:
    """Write some of them."""
    folder, numbers, width = chunk
    wholes = [Image.fromarray(pixels) for pixels in sample_data.photographs(12, 427, 640)[::3]]
    for number in numbers:
        generator = np.random.default_rng(number)
        whole = wholes[generator.integers(len(wholes))]
        across = int(generator.integers(400, 569))
        left, top = int(generator.integers(641 - across)), int(generator.integers(428 - across * 3 // 4))
        part = whole.resize((width, width * 3 // 4), box=(left, top, left + across, top + across * 3 // 4))
        shaded = part.point([min(255, round(value * generator.uniform(0.7, 1.2))) for value in range(256)] * 3)
        path = folder / f"{number % CLASSES}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        shaded.save(path, "JPEG", quality=90)
