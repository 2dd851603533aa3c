"""digits: scikit-learn's 1,797 handwritten digits of 8×8 pixels, embedded in the library, so no path is read.

E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository (1998),
https://doi.org/10.24432/C50P49 (its test part). Values 0..16 become 0..255; the grey channel is repeated as RGB.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.sample import Classes, Fault, Sample

LEVELS = 16


def read(path: Path | None) -> Iterator[Classes | Sample | Fault]:
    """All digits in scikit-learn's order; `path` is ignored."""
    from sklearn.datasets import load_digits  # takes seconds to import

    digits = load_digits()
    yield Classes(tuple(str(name) for name in digits.target_names))
    levels = np.rint(digits.images * (255 / LEVELS)).astype(np.uint8)
    for number, (image, label) in enumerate(zip(levels, digits.target, strict=True)):
        yield Sample(f"digits/{number:04d}", np.repeat(image[..., None], 3, axis=2), label=int(label))
