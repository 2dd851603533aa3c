"""Generation: images generated from noise, scored by their distance from real ones.

Scores: Fréchet distance (Heusel et al. 2017, https://arxiv.org/abs/1706.08500) and kernel distance (Bińkowski et al.
2018, https://arxiv.org/abs/1801.01401) between features of generated and real images; precision and recall of samples
(Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991). Features are the inputs of the last layer of another job's
classifier, which `extractor` names; without one, 8×8 gray pixels. Published FIDs use the Inception network of 2015,
which is `extractor: inception`. Scores by different extractors can't be compared, so a score's name holds the
extractor's, as in `FID[lenet5]`. Mode collapse, where samples are nearly identical, shows in `diversity`: the distance
between samples divided by that between real images, in 8×8 gray pixels for every extractor. `confident_fraction` is the
fraction of samples that the extractor puts in a class with a probability of at least 0.9, `classes_found` the number of
these classes.

One image is generated per given image, from noise seeded by the bytes of the given image: a model returns the same
picture for the same image, in any order and batch. For a class-conditional network, the class is sampled from the same
seed, with the frequencies of the train set.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline import images as files
from pipeline.augment.fit import Fit
from pipeline.bootstrap import Scorer
from pipeline.errors import UserError
from pipeline.learners.adversarial import COLUMNS, PIXELS, Generated, Sampler
from pipeline.learners.base import Learner, Settings
from pipeline.learners.batch import stack
from pipeline.learners.feature_extractor import extract
from pipeline.metrics import fid
from pipeline.plots import generator
from pipeline.sample import Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ()
CLASSES = "classes"
PRIMARY = "FID"
GIVES = "images"
HIGHER_IS_BETTER = False
#: PNG bytes as base64 text
OUTPUT = {"image": "string"}
#: what the report says of each score
MEANINGS = {
    "FID": "Fréchet distance between the features of generated and real images; the network is in brackets",
    "KID": "kernel distance between the features of generated and real images; the network is in brackets",
    "sample_precision": "fraction of generated images that lie among real ones in the network’s feature space",
    "sample_recall": "fraction of real images that lie among generated ones in the network’s feature space",
    "confident_fraction": "fraction of generated images that the network classifies with a probability of at least 0.9",
    "classes_found": "number of classes among the generated images with a probability of at least 0.9",
    "diversity": "distance between generated images over distance between real ones; near 0 is mode collapse",
}
#: the smallest and largest value of each score; "" stands for all that are not named
BOUNDS = {"": (0, 1), "FID": (0, None), "KID": (None, None), "classes_found": (0, None), "diversity": (0, None)}
#: what a split lacks where a score is undefined
UNDEFINED = {
    "": "fewer than 2 images",
    "sample_precision": "fewer than 4 images",
    "sample_recall": "fewer than 4 images",
    "diversity": "fewer than 2 different images",
}

PIXELS_SIDE = 8
#: side of a rendered picture in pixels, and how many a figure shows
RENDERED_PX, SHOWN = 96, 64
#: the discriminator's probability of a fake above which a sample is a mistake
UNREAL = 0.5
#: diversity below which mode collapse is reported
COLLAPSED = 0.5


def learner(network: nn.Module, settings: Settings) -> Sampler:
    """A learner that only generates; architectures that are trained have a `learner` of their own."""
    return Sampler(network, settings)


def collate(samples: Sequence[Sample], settings: Settings) -> tuple[Tensor, Tensor]:
    """uint8 images B×C×S×S, and class probabilities B×K, zeros for an image without a label."""
    probabilities = np.zeros((len(samples), len(settings.classes)), np.float32)
    for row, sample in zip(probabilities, samples, strict=True):
        if isinstance(sample.label, np.ndarray):
            row[:] = sample.label
        elif sample.label is not None:
            row[sample.label] = 1
    return stack(samples, settings.channels), torch.from_numpy(probabilities)


def rows(sample: Sample, prediction: Generated) -> dict[str, Any]:
    """The row of one real image and the one generated for it: features and pixels of both, the generated one as PNG.

    Without an extractor, features are the pixels. guess, confidence: the class that the extractor predicts for the
    generated image, and its probability.
    """
    given, _ = Fit(prediction.image.shape[0], prediction.fit).forward(Sample("", sample.pixels))
    pixels = _pixels(given.pixels), _pixels(prediction.image)
    real, fake = prediction.real, prediction.fake
    if real is None or fake is None:
        real, fake = pixels
    return {
        "extractor": prediction.extractor,
        "real": real.tolist(),
        "fake": fake.tolist(),
        "real_pixels": pixels[0].tolist(),
        "fake_pixels": pixels[1].tolist(),
        "guess": None if prediction.probabilities is None else int(prediction.probabilities.argmax()),
        "confidence": None if prediction.probabilities is None else float(prediction.probabilities.max()),
        "image": files.encode_png(prediction.image),
        "severity": prediction.severity if prediction.severity > UNREAL else 0.0,
    }


def _pixels(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """64 gray values in 0..1."""
    small = files.resize(files.luminance(image), PIXELS_SIDE, PIXELS_SIDE)
    return np.divide(small.reshape(-1), 255, dtype=np.float32)


def comparable(tables: Sequence[pa.Table]) -> str:
    """The extractor of all rows; UserError if there are several, as their features can't be compared."""
    extractors = sorted({name for table in tables for name in table["extractor"].unique().to_pylist()})
    if len(extractors) != 1:
        raise UserError(f"generation: rows by different extractors, {', '.join(extractors)}. Evaluate all by one.")
    return str(extractors[0])


def scorer(table: pa.Table, settings: Settings) -> Scorer:
    """A function from row counts to all scores; all features must be of one extractor."""
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
        confident, guess = table["confidence"].to_numpy() >= generator.CONFIDENT, table["guess"].to_numpy()
        functions |= {
            f"confident_fraction[{architecture}]": lambda counts: float(counts @ confident / counts.sum()),
            f"classes_found[{architecture}]": lambda counts: float(len(np.unique(guess[confident & (counts > 0)]))),
        }
    return lambda counts: {name: function(counts) for name, function in functions.items()}


def _columns(table: pa.Table, suffix: str) -> tuple[fid.Features, fid.Features]:
    """Features of real and of fake images, N×D each."""
    columns = (pc.list_flatten(table[name + suffix]).to_numpy() for name in ("real", "fake"))
    real, fake = (values.reshape(len(table), -1).astype(np.float64) for values in columns)
    return real, fake


def remark(scores: Mapping[str, float]) -> str | None:
    """A warning about scores during training; None if there is none."""
    if scores["diversity"] < COLLAPSED:
        return f"diversity {scores['diversity']:.2f}: mode collapse: samples are nearly identical"
    return None


def figures(table: pa.Table, settings: Settings) -> dict[str, "Figure"]:
    """Up to 64 generated images, from the same noise in every training."""
    pictures = [files.decode_stored(data) for data in table["image"].slice(0, SHOWN).to_pylist()]
    return {"samples": generator.sheet_figure(pictures, COLUMNS)}


def model_figures(learner: Sampler, train: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, "Figure"]:
    """Interpolations between samples, nearest train images, and the extractor's scores; see plots/generator.py."""
    return generator.figures(learner, train, held_out)


def draw(sample: Sample, prediction: Generated, settings: Settings) -> NDArray[np.uint8]:
    """The generated image; there is no truth to compare it with."""
    return files.resize(prediction.image, RENDERED_PX, RENDERED_PX, smooth=False)


def answer(sample: Sample, prediction: Generated, settings: Settings) -> dict[str, Any]:
    """The served answer: the generated image, for a given image that only seeds the noise."""
    return {"image": base64.b64encode(files.encode_png(prediction.image)).decode()}


def prediction(sample: Sample, answered: dict[str, Any], settings: Settings) -> Generated:
    """The picture of a served answer. Answers have no features: `measured` adds them, else rows compare pixels."""
    return Generated(files.decode_stored(base64.b64decode(answered["image"])), fit=settings.fit)


def measured(
    predictions: Sequence[Generated], samples: Sequence[Sample], extractor: Learner, settings: Settings
) -> list[Generated]:
    """Served images with the extractor's features of them and of the real images, as the learner computes them."""
    results, fit = [], Fit(settings.size, settings.fit)
    for start in range(0, len(predictions), generator.BATCH):
        batch = slice(start, start + generator.BATCH)
        fakes, reals = predictions[batch], [fit.forward(item)[0] for item in samples[batch]]
        real_features, _ = extract(extractor, stack(reals, settings.channels))
        fake_outputs = extract(extractor, stack([Sample("", item.image) for item in fakes], settings.channels))
        for item, real, fake, classes in zip(fakes, real_features, *fake_outputs, strict=True):
            results.append(Generated(item.image, item.severity, extractor.name, real, fake, classes, fit.mode))
    return results
