"""A trained model as one function of tensors: pixels 0..255 in, what its learner predicts out, normalization inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.errors import UserError
from pipeline.learners.adversarial import Generated, Sampler, to_pictures
from pipeline.learners.base import Learner
from pipeline.learners.classifier import Classifier
from pipeline.learners.detector import Detector
from pipeline.learners.localizer import ClassMaps, Localizer
from pipeline.learners.segmenter import LabelMap, Segmenter

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Port:
    """An input or an output of a graph: its name, and in words its shape and what it is."""

    name: str
    about: str


class Graph(nn.Module):
    """A learner's prediction as tensors.

    inputs, outputs: in order · any_batch: whether a batch may have any size, else it is one image · unordered: whether
    outputs are lists of objects, whose rows two programs may order differently where scores are equal · has_rows:
    whether the outputs alone give the rows that evaluate stores · about: what else a program must know that runs it.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    any_batch = True
    unordered = False
    has_rows = True

    def __init__(self, learner: Any) -> None:
        super().__init__()
        self.learner = learner
        settings = learner.settings
        colors = "RGB" if settings.channels == 3 else "gray" if settings.channels == 1 else f"{settings.channels}"
        shape = f"B×{settings.channels}×{settings.size}×{settings.size}"
        self.inputs = (Port("images", f"uint8 {shape}, {colors}, 0..255"),)
        self.about: dict[str, Any] = {}

    def given(self, images: Tensor) -> tuple[Tensor, ...]:
        """The inputs for a batch of images, uint8 B×C×S×S."""
        return (images,)

    def predictions(self, values: Arrays) -> Sequence[Any]:
        """The learner's predictions, one per image, from the outputs of one batch by name."""
        raise NotImplementedError


class _Classified(Graph):
    outputs = (Port("probabilities", "float32 B×K, of the classes"),)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images → probabilities."""
        logits = self.learner.network(self.learner.normalize(images))
        return (logits.float().softmax(1),)

    def predictions(self, values: Arrays) -> Sequence[Any]:
        """Rows of probabilities."""
        return list(values["probabilities"])


class _Localized(Graph):
    outputs = (
        Port("probabilities", "float32 B×K, of the classes"),
        Port("maps", "float32 B×K×h×w, a class activation map per class"),
    )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images → probabilities and maps."""
        outputs = self.learner.network(self.learner.normalize(images))
        return outputs["logits"].float().softmax(1), outputs["maps"].float()

    def predictions(self, values: Arrays) -> Sequence[Any]:
        """Probabilities and maps per image."""
        return [ClassMaps(*pair) for pair in zip(values["probabilities"], values["maps"], strict=True)]


class _Segmented(Graph):
    outputs = (Port("logits", "float32 B×K×S×S, of the classes at each pixel of the input; argmax gives the class"),)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images → logits."""
        run = getattr(self.learner.network, "whole", self.learner.network)
        return (run(self.learner.normalize(images)).float(),)

    def predictions(self, values: Arrays) -> Sequence[Any]:
        """Label maps."""
        logits = values["logits"]
        ids = logits.argmax(1).astype(np.uint8)
        return [LabelMap(item, logits.shape[1], layers) for item, layers in zip(ids, logits, strict=True)]


#: outputs of a detector
DETECTED = {
    "boxes": "float32 N×4, x_min, y_min, x_max, y_max in pixels of the input",
    "labels": "int64 N, indices of the classes",
    "scores": "float32 N, best first",
    "masks": "float32 N×1×M×M, probabilities within each box",
    "keypoints": "float32 N×K×3, x and y in pixels of the input, and 1",
    "keypoints_scores": "float32 N×K",
}


class _Detected(Graph):
    any_batch = False
    unordered = True

    def __init__(self, learner: Any) -> None:
        super().__init__(learner)
        settings = learner.settings
        with torch.inference_mode():
            example = torch.zeros(1, settings.channels, settings.size, settings.size, dtype=torch.uint8)
            (output,) = learner.network(learner.normalize(example))
        self.outputs = tuple(Port(name, DETECTED.get(name, "")) for name in output)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """One image → its detections, without duplicates."""
        (output,) = self.learner.network(self.learner.normalize(images))
        return tuple(output[port.name] for port in self.outputs)

    def predictions(self, values: Arrays) -> Sequence[Any]:
        """`Detections` of one image, made by the learner itself."""
        output = {name: torch.from_numpy(value) for name, value in values.items()}
        settings = self.learner.settings
        side = torch.empty(1, settings.channels, settings.size, settings.size)
        return Detector(_Answered([output]), settings)(side)


class _Answered(nn.Module):
    """In place of a network: what another program has answered."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, _images: Tensor) -> Any:
        """The answer."""
        return self.outputs


class _Sampled(Graph):
    outputs = (Port("images", "uint8 B×C×S×S, 0..255"),)
    has_rows = False  # the discriminator has a part in them

    def __init__(self, learner: Any) -> None:
        super().__init__(learner)
        latent = learner.network.latent
        classes = getattr(learner.network, "classes", 0)
        kind = "uniform" if getattr(learner.network, "uniform", False) else "normal"
        noise = Port(
            "noise", f"float32 B×{latent}×1×1, {'uniform in -1..1' if kind == 'uniform' else 'standard normal'}"
        )
        self.about = {"latent": latent, "noise": kind}
        self.inputs = (noise, Port("labels", f"float32 B×{classes}, one-hot")) if classes else (noise,)

    def given(self, images: Tensor) -> tuple[Tensor, ...]:
        """The noise, and where the network is conditional the classes, that the learner derives from images."""
        pairs = zip(*map(self.learner.noise_and_label, images), strict=True)
        noise, labels = (torch.cat(parts) for parts in pairs)
        return (noise, labels)[: len(self.inputs)]

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> tuple[Tensor, ...]:
        """Noise → generated images."""
        given = noise.new_zeros(noise.shape[0], 0) if labels is None else labels
        return (self.learner.to_pixels(self.learner.network.generate(noise, given).float()),)

    def predictions(self, values: Arrays) -> Sequence[Any]:
        """Generated pictures."""
        return [Generated(picture) for picture in to_pictures(torch.from_numpy(values["images"]))]


#: kind of learner → its graph
GRAPHS: dict[type[Learner], type[Graph]] = {
    Classifier: _Classified,
    Localizer: _Localized,
    Segmenter: _Segmented,
    Detector: _Detected,
    Sampler: _Sampled,
}


def of(learner: Learner, name: str) -> Graph:
    """The graph of a job's model; UserError for one that no graph describes."""
    if learner.derived:
        fields = ", ".join(learner.derived)
        raise UserError(
            f"{name}: its network reads {fields} beside the image, which no operation of ONNX computes. It can't be "
            f"exported; ask it by `convline predict {name}`."
        )
    for kind, graph in GRAPHS.items():
        if isinstance(learner, kind):
            return graph(learner).eval()
    raise UserError(
        f"{name}: its learner {type(learner).__name__} is none of {', '.join(kind.__name__ for kind in GRAPHS)}. "
        "Derive it from one of these."
    )
