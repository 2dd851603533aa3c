"""What a learner is that learns nothing by gradient: images become features once, and a head is fitted to these."""

from torch import Tensor

from pipeline.learners.base import Learner, Phase
from pipeline.learners.linear_heads import Vectors


class Frozen(Learner):
    """A network that does not change, with a head."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        """None: no parameter learns by gradient."""
        return ()

    def features(self, images: Tensor) -> Tensor:
        """uint8 images B×C×S×S → features B×D."""
        raise NotImplementedError

    def fit_head(self, train: Vectors, val: Vectors) -> str:
        """Fit the head to the features of both splits; says what was chosen."""
        raise NotImplementedError
