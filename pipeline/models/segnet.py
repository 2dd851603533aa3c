"""SegNet: an encoder, and a decoder that mirrors it and restores the positions of the maxima.

Badrinarayanan, Kendall, Cipolla: SegNet, PAMI 2017, https://arxiv.org/abs/1511.00561. Published: mIoU 60.10 on CamVid's
11 classes (table 3), a model of 117 MB (table 6).

`upsample` chooses how the decoder enlarges feature maps; the convolutions behind it stay the same: `max_unpool` (the
paper's; Zeiler and Fergus 2014), `bed_of_nails` (each value in the upper left corner of its cell, zeros beside it),
`nearest`, `bilinear`, and `transposed`, a learnt transposed convolution.

Promise: VGG-16's thirteen convolutions, each with a bias and batch normalisation, and their mirror; the last one gives
the classes and is not normalised. With `max_unpool` 29,449,355 parameters for 11 classes, which are 117.8 MB. As in the
paper, the encoder can start from a classifier: it has the names of `vgg` with `norm: batch`, and of torchvision's.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.layers import he_normal
from pipeline.models.parts.spec import Spec
from pipeline.models.vgg import FACTORS, convolutions

TASKS = ("segmentation",)
PAPER = {"input": [3, 480, 480], "classes": 11, "options": {}, "parameters": 29_449_355}
SMALL = {"size": 32, "options": {"width": 8, "groups": [1, 1, 2]}}
LEVELS = ()
#: convolutions of each group of VGG-16
GROUPS = (2, 2, 3, 3, 3)
MODES = ("max_unpool", "bed_of_nails", "nearest", "bilinear", "transposed")


def build(
    spec: Spec, *, width: int = 64, groups: Sequence[int] = GROUPS, upsample: str = "max_unpool", norm: bool = True
) -> nn.Module:
    """Images B×C×S×S → logits B×classes×S×S.

    width: channels of the first group · groups: convolutions per group; each group ends with a pooling by 2 ·
    upsample: the mode of the decoder · norm: batch normalisation. S must be divisible by 2^len(groups).
    """
    if upsample not in MODES:
        raise UserError(f"options.upsample: {plugins.unknown('mode', upsample, MODES)}")
    if not 1 <= len(groups) <= len(FACTORS) or min(groups) < 1:
        limits = f"1 to {len(FACTORS)} numbers of convolutions, each at least 1"
        raise UserError(f"options.groups: {list(groups)} must be {limits}")
    if spec.size % 2 ** len(groups):
        step = 2 ** len(groups)
        raise UserError(
            f"size: {spec.size} does not halve evenly {len(groups)} times; use a multiple of {step} for segnet"
        )
    return he_normal(SegNet(spec, width, groups, upsample, norm))


class SegNet(nn.Module):
    """An encoder of 3×3 convolution groups with pooling after each; a decoder with upsampling before each."""

    def __init__(self, spec: Spec, width: int, groups: Sequence[int], upsample: str, norm: bool) -> None:
        super().__init__()
        widths = [spec.channels, *(width * factor for factor, _ in zip(FACTORS, groups, strict=False))]
        self.features = convolutions(spec.channels, [[3] * count for count in groups], width, norm=norm)
        self.up, self.larger = nn.ModuleList(), nn.ModuleList()
        for (outputs, inputs), count in reversed(list(zip(pairwise(widths), groups, strict=True))):
            last = len(self.up) == len(groups) - 1
            self.larger.append(nn.ConvTranspose2d(inputs, inputs, 2, 2) if upsample == "transposed" else nn.Identity())
            self.up.append(_convolution_group([*[inputs] * count, spec.classes if last else outputs], norm, last))
        self.upsample = upsample

    def forward(self, images: Tensor) -> Tensor:
        """B×C×S×S → logits B×classes×S×S."""
        features, indices = images, []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                features, index = F.max_pool2d(features, 2, return_indices=True)
                indices.append(index)
            else:
                features = layer(features)
        for group, larger in zip(self.up, self.larger, strict=True):
            features = group(upsample_features(larger(features), indices.pop(), self.upsample))
        return features


def upsample_features(features: Tensor, indices: Tensor, mode: str) -> Tensor:
    """B×C×H×W → B×C×2H×2W; `indices` are those of max pooling: which of its 2×2 pixels each maximum was."""
    return UPSAMPLE[mode](features, indices)


def _bed_of_nails(features: Tensor, _indices: Tensor) -> Tensor:
    batch, channels, height, width = features.shape
    padded = F.pad(features.view(batch, channels, height, 1, width, 1), (0, 1, 0, 0, 0, 1))
    return padded.reshape(batch, channels, 2 * height, 2 * width)


UPSAMPLE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "max_unpool": lambda features, indices: F.max_unpool2d(features, indices, [2, 2]),
    "bed_of_nails": _bed_of_nails,
    "nearest": lambda features, _indices: F.interpolate(features, scale_factor=2),
    "bilinear": lambda features, _indices: F.interpolate(features, scale_factor=2, mode="bilinear"),
    "transposed": lambda features, _indices: features,
}


def _convolution_group(widths: Sequence[int], norm: bool, bare: bool) -> nn.Sequential:
    """3×3 convolutions with rectifiers; `bare`: the last one has neither rectifier nor normalisation."""
    layers: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=2):
        layers.append(nn.Conv2d(inputs, outputs, 3, padding=1))
        if not (bare and number == len(widths)):
            layers += [nn.BatchNorm2d(outputs)] * norm + [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
