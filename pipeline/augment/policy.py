"""An augmentation policy: a list of named transforms as one function of a sample and a seed.

The seed alone decides all random numbers, so any number of loader workers and ranks gives the same images.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import albumentations as A
import numpy as np

from pipeline import plugins
from pipeline.augment import library
from pipeline.augment.fit import Fit, Reduction, cut
from pipeline.augment.library import Library
from pipeline.augment.operations import Operations
from pipeline.augment.transforms import Mixing
from pipeline.augment.transforms.parts.affine import RandomHomography
from pipeline.augment.transforms.parts.joining import Joining
from pipeline.augment.transforms.parts.operations import RandomOperations
from pipeline.augment.transforms.parts.window import RandomWindow
from pipeline.augment.warp import Warp
from pipeline.errors import UserError
from pipeline.sample import Sample, resized

Settings = Sequence[dict[str, dict[str, Any]]]
#: returns a sample for any whole number, to mix with
Other = Callable[[int], Sample]


class Policy:
    """Transforms built from params.yaml's list; `policy(sample, seed, other)` returns the augmented sample.

    classes: the length of soft labels · keypoints: their names. `other` is needed only if a transform mixes
    samples.
    """

    def __init__(self, settings: Settings, classes: int = 0, keypoints: Sequence[str] = ()) -> None:
        self._classes = classes
        self._steps: list[Warp | Library | Operations | Mixing | Joining] = []
        self._windows: list[RandomWindow] = []
        for _, group in itertools.groupby(map(_build, settings), _kind):
            built = list(group)
            if isinstance(built[0], RandomHomography):  # by class: the fingerprint counts a branch with its class only
                self._steps.append(Warp(built, keypoints))
            elif isinstance(built[0], RandomWindow):
                self._windows += [window for window in built if window.p]
            elif isinstance(built[0], A.BasicTransform):
                self._steps.append(Library(built))
            elif isinstance(built[0], RandomOperations):
                self._steps += [Operations(operations, keypoints) for operations in built]
            else:
                self._steps += built

    @property
    def least_side(self) -> float | None:
        """The fraction of a stored image's short side from which an input is made at least; None if of the whole."""
        return min((window.least_side for window in self._windows), default=None)

    def __call__(self, sample: Sample, seed: int, other: Other | None = None, fit: Fit | None = None) -> Sample:
        """The sample after all transforms; every random number comes from `seed`.

        fit: makes a network's input of the sample, and of one that is mixed in; by default they keep their pixels. What
        chooses a part of the image comes before, all other transforms after.
        """
        return self._after(len(self._steps), sample, np.random.default_rng(seed), other, fit)

    def _after(
        self, steps: int, sample: Sample, generator: np.random.Generator, other: Other | None, fit: Fit | None
    ) -> Sample:
        """The sample after the first `steps`; a sample that is mixed in goes through the earlier steps, too."""
        sample = self._begin(sample, generator, fit)
        for number, step in enumerate(self._steps[:steps]):
            if isinstance(step, Warp | Library | Operations):
                sample = step(sample, generator)
            elif generator.random() < step.p:
                count = step.others if isinstance(step, Joining) else 1
                others = [self._mixed_in(number, sample, generator, other, fit) for _ in range(count)]
                if isinstance(step, Joining):
                    sample = step.join([sample, *others], generator)
                else:
                    sample = step.apply(sample, others[0], generator, self._classes)
        return sample

    def _mixed_in(
        self, steps: int, sample: Sample, generator: np.random.Generator, other: Other | None, fit: Fit | None
    ) -> Sample:
        """A random other sample after the first `steps`, of the size of `sample`."""
        if other is None:
            raise ValueError("a transform that mixes samples needs `other`")
        mixed_in, shape = other(int(generator.integers(2**32))), sample.pixels.shape[:2]
        if fit is None:
            mixed_in = resized(mixed_in, *shape)
        return resized(self._after(steps, mixed_in, generator, other, fit), *shape)

    def _begin(self, sample: Sample, generator: np.random.Generator, fit: Fit | None) -> Sample:
        """The input that the sample, or a random part of it, becomes; without a fit, that part in its own pixels.

        With a fit, parts are cut from a copy that is reduced as a view has it, so that both give the same inputs.
        """
        if fit is not None and self.least_side is not None:
            sample = Reduction.of(fit.side, self.least_side).begin(sample)
        for window in self._windows:
            if generator.random() < window.p:
                chosen = window.sample(generator, *sample.pixels.shape[:2])
                return cut(sample, chosen) if fit is None else fit.from_window(sample, chosen)
        return sample if fit is None else fit.forward(sample)[0]


def check(settings: Settings, keypoints: Sequence[str] = ()) -> None:
    """Build the transforms, and apply those of albumentations to an image; UserError for what can't be trained with."""
    for entry in settings:
        ((name, options),) = entry.items()
        built = _build(entry)
        if isinstance(built, A.BasicTransform):
            try:
                library.check(built, keypoints)
            except ValueError as error:
                raise UserError(f"params.yaml: augmentation: transform {name} with {options}: {error}") from error


def _build(entry: dict[str, dict[str, Any]]) -> Any:
    ((name, options),) = entry.items()
    try:
        return plugins.load("augment.transforms", name).build(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"params.yaml: augmentation: transform {name} with {options}: {error}") from error


def _kind(built: Any) -> str:
    if isinstance(built, RandomHomography):
        return "homography"
    if isinstance(built, RandomWindow):
        return "window"
    if isinstance(built, A.BasicTransform):
        return "spatial" if isinstance(built, A.DualTransform) else "pixel"
    if isinstance(built, RandomOperations):
        return "operations"
    return "mixing"
