"""SegNet: an encoder, and a decoder that is its mirror image and puts maxima back where they were.

Badrinarayanan, Kendall, Cipolla: SegNet, PAMI 2017, https://arxiv.org/abs/1511.00561. Published: mIoU 60.10 on CamVid's
11 classes (table 3), a model of 117 MB (table 6).

`upsample` shows the ways back to a larger map, each followed by the same convolutions: `max_unpool` (the paper's;
Zeiler and Fergus 2014), `bed_of_nails` (each value in its cell's upper left corner, zeros beside it), `nearest`,
`bilinear`, and `transposed`, which learns it.

Promise: VGG-16's thirteen convolutions, each normalised and with a bias, and their mirror; the last of these gives the
classes and is not normalised. With `max_unpool` 29,449,355 parameters for 11 classes, which are 117.8 MB. As in the
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
STAGES = ()
#: convolutions of each group of VGG-16
GROUPS = (2, 2, 3, 3, 3)
WAYS = ("max_unpool", "bed_of_nails", "nearest", "bilinear", "transposed")


def build(
    spec: Spec, *, width: int = 64, groups: Sequence[int] = GROUPS, upsample: str = "max_unpool", norm: bool = True
) -> nn.Module:
    """Images B×C×S×S → logits B×classes×S×S.

    width: maps of the first group · groups: convolutions of each; behind each the map is halved · upsample: the way
    back · norm: batch normalisation. S must halve evenly that often.
    """
    if upsample not in WAYS:
        raise UserError(f"options.upsample: {plugins.unknown('way', upsample, WAYS)}")
    if not 1 <= len(groups) <= len(FACTORS) or min(groups) < 1:
        raise UserError(f"options.groups: {list(groups)} is not one to {len(FACTORS)} numbers of convolutions")
    if spec.size % 2 ** len(groups):
        raise UserError(f"size: {spec.size} does not halve evenly {len(groups)} times in segnet")
    return he_normal(SegNet(spec, width, groups, upsample, norm))


class SegNet(nn.Module):
    """Groups of 3×3 convolutions, halving behind each; then, from the coarsest, doubling before each."""

    def __init__(self, spec: Spec, width: int, groups: Sequence[int], upsample: str, norm: bool) -> None:
        super().__init__()
        widths = [spec.channels, *(width * factor for factor, _ in zip(FACTORS, groups, strict=False))]
        self.features = convolutions(spec.channels, [[3] * count for count in groups], width, norm=norm)
        self.up, self.larger = nn.ModuleList(), nn.ModuleList()
        for (outputs, inputs), count in reversed(list(zip(pairwise(widths), groups, strict=True))):
            last = len(self.up) == len(groups) - 1
            self.larger.append(nn.ConvTranspose2d(inputs, inputs, 2, 2) if upsample == "transposed" else nn.Identity())
            self.up.append(_group([*[inputs] * count, spec.classes if last else outputs], norm, last))
        self.upsample = upsample

    def forward(self, images: Tensor) -> Tensor:
        """B×C×S×S → logits B×classes×S×S."""
        maps, places = images, []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps, place = F.max_pool2d(maps, 2, return_indices=True)
                places.append(place)
            else:
                maps = layer(maps)
        for group, larger in zip(self.up, self.larger, strict=True):
            maps = group(doubled(larger(maps), places.pop(), self.upsample))
        return maps


def doubled(maps: Tensor, places: Tensor, way: str) -> Tensor:
    """B×C×H×W → B×C×2H×2W; `places` says which of its 2×2 pixels each maximum was."""
    return UPSAMPLE[way](maps, places)


def _bed_of_nails(maps: Tensor, _places: Tensor) -> Tensor:
    batch, channels, high, wide = maps.shape
    wider = F.pad(maps.view(batch, channels, high, 1, wide, 1), (0, 1, 0, 0, 0, 1))
    return wider.reshape(batch, channels, 2 * high, 2 * wide)


UPSAMPLE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "max_unpool": lambda maps, places: F.max_unpool2d(maps, places, [2, 2]),
    "bed_of_nails": _bed_of_nails,
    "nearest": lambda maps, _places: F.interpolate(maps, scale_factor=2),
    "bilinear": lambda maps, _places: F.interpolate(maps, scale_factor=2, mode="bilinear"),
    "transposed": lambda maps, _places: maps,
}


def _group(widths: Sequence[int], norm: bool, bare: bool) -> nn.Sequential:
    """3×3 convolutions with rectifiers; `bare`: the last one without."""
    layers: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=2):
        layers.append(nn.Conv2d(inputs, outputs, 3, padding=1))
        if not (bare and number == len(widths)):
            layers += [nn.BatchNorm2d(outputs)] * norm + [nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
