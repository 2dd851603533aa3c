"""Generation: images made from noise, measured by how far they are from real ones.

Scores: Fréchet distance (Heusel et al. 2017, https://arxiv.org/abs/1706.08500) and kernel distance (Bińkowski et al.
2018, https://arxiv.org/abs/1801.01401) between features of generated and of real images; the shares of samples that
look like real images, and of real images that look like samples (Kynkäänniemi et al. 2019). The features are those of
another job's classifier, which `extractor` names, before its last layer; without one, 8×8 grey pixels. Published
FIDs are of the 2015 Inception network, which is `extractor: inception`. Numbers by different networks can't be
compared: so the score's name says whose features they are, as in `FID[lenet5]`. A generator that has collapsed draws
one image again and again: `diversity`, how far samples are apart over how far real images are, is in 8×8 grey pixels
whoever measures.

A generated image is made for each given one, from noise that is a function of the given image's bytes: the same
model answers the same image with the same picture, in any order and batch. A network that is told classes is told
one that is drawn the same way, each as often as the train set has it.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import images as files
from pipeline.bootstrap import Scorer
from pipeline.errors import UserError
from pipeline.learners.adversarial import COLUMNS, PIXELS, Generated, Sampler
from pipeline.learners.base import Learner, Settings
from pipeline.learners.batch import stack
from pipeline.learners.feature_extractor import seen
from pipeline.metrics import fid
from pipeline.plots import generator
from pipeline.sample import Sample, resized

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ()
CLASSES = "classes"
PRIMARY = "FID"
HIGHER_IS_BETTER = False
#: PNG bytes as base64 text
OUTPUT = {"image": "string"}

PIXELS_SIDE = 8
DRAWN_PX, SHOWN = 96, 64
#: diversity below which a person is told
COLLAPSED = 0.5


def learner(network: nn.Module, settings: Settings) -> Sampler:
    """A learner that generates; how a generator is trained is known to its architecture, which brings its own."""
    return Sampler(network, settings)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, Tensor]:
    """uint8 B×C×S×S, and each image's share of each class B×K: zeros where it has no label."""
    shares = np.zeros((len(samples), len(settings.classes)), np.float32)
    for row, sample in zip(shares, samples, strict=True):
        if isinstance(sample.label, np.ndarray):
            row[:] = sample.label
        elif sample.label is not None:
            row[sample.label] = 1
    return stack(samples, settings.channels), torch.from_numpy(shares)


def rows(sample: Sample, prediction: Generated) -> dict[str, Any]:
    """One real image and the generated one: features of both and whose, both as pixels, the generated one as PNG."""
    side = prediction.image.shape[0]
    pixels = _pixels(files.resize(sample.pixels, side, side)), _pixels(prediction.image)
    real, fake = prediction.real, prediction.fake
    if real is None or fake is None:
        real, fake = pixels
    return {
        "extractor": prediction.extractor,
        "real": real.tolist(),
        "fake": fake.tolist(),
        "real_pixels": pixels[0].tolist(),
        "fake_pixels": pixels[1].tolist(),
        "guess": None if prediction.shares is None else int(prediction.shares.argmax()),
        "confidence": None if prediction.shares is None else float(prediction.shares.max()),
        "image": files.encode_png(prediction.image),
        "severity": prediction.severity,
    }


def _pixels(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """64 grey values in 0..1."""
    small = files.resize(files.luminance(image), PIXELS_SIDE, PIXELS_SIDE)
    return np.divide(small.reshape(-1), 255, dtype=np.float32)


def comparable(tables: Sequence[pa.Table]) -> str:
    """The one extractor by which all rows are measured; UserError where there are more, whose features differ."""
    extractors = sorted({name for table in tables for name in table["extractor"].unique().to_pylist()})
    if len(extractors) != 1:
        raise UserError(f"generation: rows by different extractors, {', '.join(extractors)}. Evaluate all by one.")
    return str(extractors[0])


def scorer(table: pa.Table, settings: Settings) -> Scorer:
    """A function of row counts that gives all scores; the features must all be of one extractor."""
    architecture = comparable([table]).split("@")[0]
    features, pixels = _columns(table, ""), _columns(table, "_pixels")
    functions = {
        f"FID[{architecture}]": fid.frechet(*features),
        f"KID[{architecture}]": fid.kernel(*features),
        f"sample_precision[{architecture}]": fid.precision(*features),
        f"sample_recall[{architecture}]": fid.precision(*features[::-1]),
        "diversity": fid.diversity(*pixels),
    }
    if architecture != PIXELS:
        chosen = table["confidence"].to_numpy() >= generator.SURE
        guess = table["guess"].to_numpy()
        functions[f"sure[{architecture}]"] = lambda counts: float(counts @ chosen / counts.sum())
        functions[f"classes[{architecture}]"] = lambda counts: float(len(np.unique(guess[chosen & (counts > 0)])))
    return lambda counts: {name: function(counts) for name, function in functions.items()}


def _columns(table: pa.Table, suffix: str) -> tuple[fid.Features, fid.Features]:
    """Those of real and of fake images, N×D each."""
    real, fake = (np.asarray(table[name + suffix].to_pylist(), np.float64) for name in ("real", "fake"))
    return real, fake


def remark(scores: Mapping[str, float]) -> str | None:
    """What a person who watches the training should know of its scores."""
    if scores["diversity"] < COLLAPSED:
        return f"diversity {scores['diversity']:.2f}: the generator draws nearly the same again and again"
    return None


def figures(table: pa.Table, settings: Settings) -> dict[str, "Figure"]:
    """Up to 64 generated images; their noise stays the same from one training to the next."""
    pictures = [files.decode_stored(data) for data in table["image"].slice(0, SHOWN).to_pylist()]
    return {"samples": generator.shown(pictures, COLUMNS)}


def model_figures(learner: Sampler, train: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, "Figure"]:
    """Ways between samples, their nearest train images, and what the extractor makes of them."""
    return generator.figures(learner, train, held_out)


def draw(sample: Sample, prediction: Generated, settings: Settings) -> NDArray[np.uint8]:
    """The generated image; there is no truth to show beside it."""
    return files.resize(prediction.image, DRAWN_PX, DRAWN_PX, smooth=False)


def answer(sample: Sample, prediction: Generated, settings: Settings) -> dict[str, Any]:
    """The generated image as a served model gives it, for an image that only chooses the noise."""
    return {"image": base64.b64encode(files.encode_png(prediction.image)).decode()}


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> Generated:
    """The picture behind a served answer. Features are not served: `measured` adds them, else rows compare pixels."""
    return Generated(files.decode_stored(base64.b64decode(answered["image"])))


def measured(
    predictions: Sequence[Generated], samples: Sequence[Sample], extractor: Learner, settings: Settings
) -> list[Generated]:
    """Served images with the features of an extractor, as `learner` would have measured them."""
    found = []
    for start in range(0, len(predictions), generator.BATCH):
        made = predictions[start : start + generator.BATCH]
        asked = [resized(sample, settings.size, settings.size) for sample in samples[start : start + generator.BATCH]]
        real, _ = seen(extractor, stack(asked, settings.channels))
        fakes = seen(extractor, stack([Sample("", item.image) for item in made], settings.channels))
        for item, *more in zip(made, real, *fakes, strict=True):
            found.append(Generated(item.image, item.severity, extractor.name, *more))
    return found
