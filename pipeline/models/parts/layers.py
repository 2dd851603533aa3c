"""Pieces that several architectures share."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.feature_maps import features, shadow
from pipeline.models.parts.spec import Spec, anatomy, build_network

#: what a classifier is asked to be where only its anatomy matters
ANY = Spec("classification", 2, 3, 299)


def he_normal(network: nn.Module) -> nn.Module:
    """Initialise for rectifiers: weights N(0, 2/fan-in), biases 0. He et al. 2015, https://arxiv.org/abs/1502.01852."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def he_fan_out(network: nn.Module) -> nn.Module:
    """Initialise convolutions as N(0, 2/fan-out), which keeps the gradients' variance, as ResNets are trained."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def glorot_uniform(network: nn.Module) -> nn.Module:
    """Initialise as U(±√(6 / (fan-in + fan-out))), biases 0. Glorot and Bengio 2010, AISTATS 9:249."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def read_channels(network: nn.Module, channels: int) -> None:
    """Give a network for colour images a new first convolution that reads `channels`, where these are not three."""
    if channels != 3:
        place, first = next((place, item) for place, item in network.named_modules() if isinstance(item, nn.Conv2d))
        shape: Any = {key: getattr(first, key) for key in ("kernel_size", "stride", "padding")}
        network.set_submodule(place, nn.Conv2d(channels, first.out_channels, **shape, bias=first.bias is not None))


def response_norm() -> nn.Module:
    """Divide each value by (2 + 10⁻⁴ · Σ of squares over five neighbouring maps)^0.75, as printed in Krizhevsky 2012.

    torch takes the mean of the squares where the paper has their sum, so its alpha is five times the paper's.
    """
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


def dense_head(
    inputs: int, width: int, classes: int, dropout: float, places: Sequence[str], *, drop_inputs: bool = False
) -> nn.Sequential:
    """Two hidden layers of `width` with dropout behind each, and the output: B×inputs → B×classes.

    places: the names of the three layers with weights · drop_inputs: dropout is before each hidden layer instead.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (place, values) in enumerate(zip(places[:2], (inputs, width), strict=True), start=6):
        hidden = [(place, nn.Linear(values, width)), (f"relu{number}", nn.ReLU(inplace=True))]
        dropped = (f"drop{number}", nn.Dropout(dropout))
        layers |= dict([dropped, *hidden] if drop_inputs else [*hidden, dropped])
    layers[places[2]] = nn.Linear(width, classes)
    return nn.Sequential(layers)


def centre(maps: Tensor, like: Tensor) -> Tensor:
    """The middle of …×H×W, as high and wide as `like`."""
    (height, width), (high, wide) = maps.shape[-2:], like.shape[-2:]
    top, left = (height - high) // 2, (width - wide) // 2
    return maps[..., top : top + high, left : left + wide]


def stages_of(name: str, options: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """The stages of a classifier of the folder, fine to coarse; UserError where a backbone has none.

    options: of its build; only where its file can't name the stages, because they depend on these.
    """
    stages: tuple[str, ...] | None = plugins.constant("models", name, "STAGES")
    if stages is None and "classification" in plugins.constant("models", name, "TASKS"):
        check_options(name, options or ())
        with torch.device("meta"):
            stages = anatomy(build_network(name, ANY, dict(options or {}))).stages
    if not stages:
        raise UserError(f"options.backbone: {name} has no STAGES. Choose a classifier that has.")
    return stages


def check_options(name: str, options: Iterable[str]) -> None:
    """UserError for a `backbone_options` that the backbone's own build does not know."""
    known = plugins.options("models", name, "build") or []
    for option in options:
        if option not in known:
            raise UserError(f"options.backbone_options: {plugins.unknown('option', option, known)}")


def backbone(name: str, spec: Spec, options: Mapping[str, Any], stages: Sequence[str]) -> nn.Module:
    """A classifier of the folder for `_features.features(…, stages)` alone: layers that these don't need are left out.

    options: of the classifier's own build, called `backbone_options` in errors.
    """
    check_options(name, options)
    for stage in stages:
        if stage not in (known := stages_of(name, options)):
            raise UserError(f"options.stage: {plugins.unknown('stage', stage, known)}")
    network = build_network(name, Spec("classification", spec.classes, spec.channels, spec.size), dict(options))
    drop_unused(network, stages, spec.channels, spec.size)
    return network


@torch.no_grad()
def drop_unused(network: nn.Module, stages: Sequence[str], channels: int, size: int) -> None:
    """Put an identity in the place of each layer with parameters that does not run on the way to `stages`."""
    probe = shadow(network)
    ran: set[nn.Module] = set()
    with ExitStack() as hooks:
        for module in probe.modules():
            hooks.callback(module.register_forward_pre_hook(lambda module, _inputs: ran.add(module)).remove)
        features(probe, torch.empty(2, channels, size, size, device="meta"), stages)
    for place, module in reversed(list(probe.named_modules())):  # what lies inside a layer before the layer
        if module not in ran and any(True for _ in module.parameters(recurse=False)):
            network.set_submodule(place, nn.Identity())
