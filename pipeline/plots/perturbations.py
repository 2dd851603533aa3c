"""Distance of images to small changes of themselves (shift, darkening, noise), in pixels and in features.

To a person these changes matter little, so a perceptual distance should be small. The distance in pixels is large for a
shift, that in a classifier's features smaller (Johnson et al. 2016, https://arxiv.org/abs/1603.08155, section 1). Both
are divided by the mean distance between two different images, so that they can be compared.
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
#: maximum shift as a fraction of the side; darkening as a fraction of brightness; noise in gray levels
SHIFT, DARKER, NOISE = 0.125, 0.4, 40.0
Floats = NDArray[np.float32]


def shifted(images: Tensor, strength: float) -> Tensor:
    """Shifted right; the left edge is repeated."""
    pixels = round(strength * SHIFT * images.shape[-1])
    return pad(images.float(), (pixels, 0, 0, 0), mode="replicate")[..., : images.shape[-1]].to(torch.uint8)


def darkened(images: Tensor, strength: float) -> Tensor:
    """Each pixel reduced by the same fraction."""
    return (images.float() * (1 - strength * DARKER)).round().to(torch.uint8)


def noisy(images: Tensor, strength: float) -> Tensor:
    """With normal noise from a fixed seed, scaled by the strength."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images.float() + strength * NOISE * noise).round().clamp(0, 255).to(torch.uint8)


CHANGES: dict[str, tuple[Callable[[Tensor, float], Tensor], float, str]] = {
    "shift": (shifted, 100 * SHIFT, "% of the side"),
    "less light": (darkened, 100 * DARKER, "% of brightness"),
    "noise": (noisy, NOISE, "gray levels (standard deviation)"),
}


def figure(sampler: Any, images: Tensor) -> "Figure":
    """One chart per change, for N×C×S×S uint8; with features if the sampler has an extractor."""
    from matplotlib.figure import Figure

    views: dict[str, Callable[[Tensor], Floats]] = {"pixels": flatten}
    if sampler.extractor is not None:
        name = sampler.extractor.name.split("@")[0]
        views[f"features of {name}"] = lambda batch: sampler.feature_cache.extract(batch)[0]
    result = Figure(figsize=(9, 2.6), layout="constrained")
    panels = result.subplots(1, 3, sharey=True)
    for axes, (title, (change, strongest, unit)) in zip(panels, CHANGES.items(), strict=True):
        for view, measure in views.items():
            axes.plot([step * strongest for step in STEPS], distances(images, change, measure), marker=".", label=view)
        axes.set(title=title, xlabel=unit)
        axes.grid(visible=True, alpha=0.3)
    result.axes[0].set_ylabel("distance (1: between two images)")
    result.axes[0].legend(fontsize=8)
    return result


def distances(
    images: Tensor, change: Callable[[Tensor, float], Tensor], measure: Callable[[Tensor], Floats]
) -> list[float]:
    """Mean distance of images to themselves changed, per step, divided by that to the next image of the set."""
    original = measure(images)
    unit = np.linalg.norm(original - np.roll(original, 1, axis=0), axis=1).mean()
    means = [np.linalg.norm(measure(change(images, step)) - original, axis=1).mean() for step in STEPS]
    return [float(value / unit) if unit > 0 else float("nan") for value in means]


def flatten(images: Tensor) -> Floats:
    """N×C×S×S uint8 → N×(C·S·S)."""
    return images.flatten(1).numpy().astype(np.float32)
