"""How far an image moves when it is changed a little: shifted, darkened, made noisy; by pixels and by features.

A person sees the same thing, so a distance that says what a person sees moves little. Pixels move far for a shift,
features of a classifier less (Johnson et al. 2016, https://arxiv.org/abs/1603.08155, section 1). The unit is how far
two different images are apart, so that both can be compared.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
#: the strongest shift, as a share of the side; darkening, as a share of the light; noise, in grey levels
SHIFT, DARKER, NOISE = 0.125, 0.4, 40.0
Floats = NDArray[np.float32]


def shifted(images: Tensor, strength: float) -> Tensor:
    """To the right; the left edge is repeated."""
    pixels = round(strength * SHIFT * images.shape[-1])
    return pad(images.float(), (pixels, 0, 0, 0), mode="replicate")[..., : images.shape[-1]].to(torch.uint8)


def darkened(images: Tensor, strength: float) -> Tensor:
    """By a share of each pixel."""
    return (images.float() * (1 - strength * DARKER)).round().to(torch.uint8)


def noisy(images: Tensor, strength: float) -> Tensor:
    """Normal noise, the same each time but for its strength."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images.float() + strength * NOISE * noise).round().clamp(0, 255).to(torch.uint8)


CHANGES: dict[str, tuple[Callable[[Tensor, float], Tensor], float, str]] = {
    "shift": (shifted, 100 * SHIFT, "% of the side"),
    "less light": (darkened, 100 * DARKER, "% of the light"),
    "noise": (noisy, NOISE, "grey levels (standard deviation)"),
}


def figure(sampler: Any, images: Tensor) -> "Figure":
    """A chart a change, for N×C×S×S uint8; by features only where the sampler has an extractor."""
    from matplotlib.figure import Figure

    views: dict[str, Callable[[Tensor], Floats]] = {"pixels": _pixels}
    if sampler.extractor is not None:
        views[f"features of {sampler.extractor.name.split('@')[0]}"] = lambda given: sampler.memory.seen(given)[0]
    found = Figure(figsize=(9, 2.6), layout="constrained")
    for axes, (name, (change, strongest, unit)) in zip(found.subplots(1, 3, sharey=True), CHANGES.items(), strict=True):
        for view, measure in views.items():
            axes.plot([step * strongest for step in STEPS], moved(images, change, measure), marker=".", label=view)
        axes.set(title=name, xlabel=unit)
        axes.grid(visible=True, alpha=0.3)
    found.axes[0].set_ylabel("distance (1: of two images)")
    found.axes[0].legend(fontsize=8)
    return found


def moved(
    images: Tensor, change: Callable[[Tensor, float], Tensor], measure: Callable[[Tensor], Floats]
) -> list[float]:
    """The mean distance of images to themselves changed, step by step, over that to the next image of the set."""
    still = measure(images)
    unit = np.linalg.norm(still - np.roll(still, 1, axis=0), axis=1).mean()
    apart = [np.linalg.norm(measure(change(images, step)) - still, axis=1).mean() for step in STEPS]
    return [float(value / unit) if unit > 0 else float("nan") for value in apart]


def _pixels(images: Tensor) -> Floats:
    return images.flatten(1).numpy().astype(np.float32)
