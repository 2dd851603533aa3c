"""Test images changed by a policy of `augmentation`, to measure how robust a model is."""

import threading
from collections.abc import Sequence
from typing import Any

from pipeline.augment.policy import Policy, Settings
from pipeline.learners.base import Settings as LearnerSettings
from pipeline.sample import Sample
from pipeline.seeds import seed_of


class Changed(Sequence[Sample]):
    """Stored samples, each changed by the transforms with a fixed seed, so that every model gets the same images."""

    def __init__(self, stored: Sequence[Sample], transforms: Settings, settings: LearnerSettings) -> None:
        self._lock = threading.Lock()  # a policy sets the seed of the transforms that it then applies
        self._stored, self._policy = stored, Policy(transforms, len(settings.classes), settings.keypoints)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: Any) -> Any:
        item = self._stored[index]
        with self._lock:
            return self._policy(item, seed_of("test", index))
