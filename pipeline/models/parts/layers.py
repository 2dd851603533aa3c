"""Layers, initialisation and backbones that several architectures share."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.models.parts.feature_maps import features, meta_copy
from pipeline.models.parts.spec import Spec, anatomy, build_network

#: the specification for building a classifier where only its anatomy matters
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
    """Replace the first convolution of a network for colour images if `channels` is not three."""
    if channels != 3:
        name, first = next((name, item) for name, item in network.named_modules() if isinstance(item, nn.Conv2d))
        shape: Any = {key: getattr(first, key) for key in ("kernel_size", "stride", "padding")}
        network.set_submodule(name, nn.Conv2d(channels, first.out_channels, **shape, bias=first.bias is not None))


def local_response_norm() -> nn.Module:
    """Divide each value by (2 + 10⁻⁴ · Σ of squares over five neighbouring channels)^0.75 (Krizhevsky 2012).

    torch averages the squares and the paper sums them, so torch's alpha is five times the paper's.
    """
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


def dense_head(
    inputs: int, width: int, classes: int, dropout: float, names: Sequence[str], *, drop_inputs: bool = False
) -> nn.Sequential:
    """Two hidden layers of `width` with dropout behind each, and the output: B×inputs → B×classes.

    names: of the three layers with weights · drop_inputs: dropout is before each hidden layer instead.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (name, in_features) in enumerate(zip(names[:2], (inputs, width), strict=True), start=6):
        hidden = [(name, nn.Linear(in_features, width)), (f"relu{number}", nn.ReLU(inplace=True))]
        drop = (f"drop{number}", nn.Dropout(dropout))
        layers |= dict([drop, *hidden] if drop_inputs else [*hidden, drop])
    layers[names[2]] = nn.Linear(width, classes)
    return nn.Sequential(layers)


def centre(tensor: Tensor, like: Tensor) -> Tensor:
    """The central crop of …×H×W with the height and width of `like`."""
    (height, width), (crop_height, crop_width) = tensor.shape[-2:], like.shape[-2:]
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    return tensor[..., top : top + crop_height, left : left + crop_width]


def levels_of(name: str, options: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Names of the levels of a classifier in pipeline/models, fine to coarse; UserError if it has none.

    options: of its `build`; they matter only if the file has no LEVELS because the levels depend on them.
    """
    levels: tuple[str, ...] | None = plugins.constant("models", name, "LEVELS")
    if levels is None and "classification" in plugins.constant("models", name, "TASKS"):
        check_options(name, options or ())
        with torch.device("meta"):
            levels = anatomy(build_network(name, ANY, dict(options or {}))).levels
    if not levels:
        raise UserError(f"options.backbone: {name} has no LEVELS; choose a classifier that has")
    return levels


def check_options(name: str, options: Iterable[str]) -> None:
    """UserError if `backbone_options` has an option that the backbone's `build` does not take."""
    allowed = plugins.options("models", name, "build") or []
    for option in options:
        if option not in allowed:
            raise UserError(f"options.backbone_options: {plugins.unknown('option', option, allowed)}")


def backbone(name: str, spec: Spec, options: Mapping[str, Any], levels: Sequence[str]) -> nn.Module:
    """A classifier in pipeline/models as a backbone for `feature_maps.features(…, levels)`, without unused layers.

    options: of the classifier's `build`; errors call them `backbone_options`.
    """
    check_options(name, options)
    choices = levels_of(name, options) if levels else ()
    for level in levels:
        if level not in choices:
            raise UserError(f"options.level: {plugins.unknown('level', level, choices)}")
    network = build_network(name, Spec("classification", spec.classes, spec.channels, spec.size), dict(options))
    drop_unused(network, levels, spec.channels, spec.size)
    return network


@torch.no_grad()
def drop_unused(network: nn.Module, levels: Sequence[str], channels: int, size: int) -> None:
    """Replace by an identity each layer with parameters that does not run before the last of `levels`."""
    probe = meta_copy(network)
    ran: set[nn.Module] = set()
    with ExitStack() as hooks:
        for module in probe.modules():
            hooks.callback(module.register_forward_pre_hook(lambda module, _inputs: ran.add(module)).remove)
        features(probe, torch.empty(2, channels, size, size, device="meta"), levels)
    for name, module in reversed(list(probe.named_modules())):  # children before their parents
        if module not in ran and any(True for _ in module.parameters(recurse=False)):
            network.set_submodule(name, nn.Identity())
