"""The contract of a recipe: a file of pipeline/recipes/ or plugins/recipes/, named as its task.

A task needs none.
"""

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pipeline.recipes.parts.statistics import TrainStatistics
    from pipeline.recipes.parts.wishes import Wishes


class Recipe(Protocol):
    """First jobs of a task, which `convline add` puts into params.yaml."""

    def jobs(self, dataset: str, statistics: "TrainStatistics", wishes: "Wishes") -> dict[str, dict[str, Any]]:
        """Settings by what follows `<dataset>-` in the job's name: its architecture, unless `architecture` is set.

        Two entries are not settings of the job: `because`, the reason that is written above it, and `augmentation` as
        a list of transforms, which becomes a policy of the data set.

        Args:
            dataset: its name.
            statistics: of its train split.
            wishes: the preset, and a network with published weights, if there is one.
        """
        ...
