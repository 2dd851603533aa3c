"""Suggests first jobs for a dataset, which train in minutes on two cores, to be edited.

They come from the recipes of the tasks (pipeline/recipes/, plugins/recipes/).
"""

from dataclasses import dataclass
from typing import Any

from pipeline import plugins
from pipeline.contracts import check
from pipeline.recipes.parts.statistics import TrainStatistics as TrainStatistics
from pipeline.recipes.parts.wishes import Wishes as Wishes
from pipeline.sample import Facts

Jobs = dict[str, dict[str, Any]]


def tasks(facts: Facts) -> list[str]:
    """Tasks whose needs every sample meets, if there is something to learn; those without needs if none has labels."""
    needs = {name: plugins.constant("tasks", name, "NEEDS") for name in plugins.names("tasks")}
    if not facts.fields:
        return [name for name, needed in needs.items() if not needed]
    possible = [name for name, needed in needs.items() if needed and set(needed) <= set(facts.fields)]
    return [name for name in possible if not _is_one_class(name, facts)]


def _is_one_class(task: str, facts: Facts) -> bool:
    """Whether a task needs nothing but a class of each image or pixel, and the dataset has only one."""
    needs, classes = plugins.constant("tasks", task, "NEEDS"), plugins.constant("tasks", task, "CLASSES")
    return set(needs) <= {"label", "semantic"} and len(getattr(facts, classes)) < 2


def nothing_to_learn(facts: Facts) -> str | None:
    """Why no task can learn from annotations that are there; None where that is not the reason."""
    names = (*facts.classes, *facts.semantic_classes)
    if not {"label", "semantic"} & set(facts.fields) or len(names) > 1:
        return None
    remedy = "Add images of another class; or add them without labels, for generation: --format unlabeled."
    return f"all is of one class, {', '.join(names)}, so there is nothing to learn. {remedy}"


@dataclass(frozen=True)
class Suggestion:
    """First jobs by name, the reason for each, and the augmentation policies that they name."""

    jobs: Jobs
    reasons: dict[str, str]
    policies: dict[str, dict[str, Any]]


def suggestion(
    dataset: str, possible: list[str], statistics: TrainStatistics, wishes: Wishes | None = None
) -> Suggestion:
    """First jobs for the tasks that have a recipe; jobs with equal augmentation share a policy."""
    made = Suggestion({}, {}, {})
    recipes = [task for task in plugins.names("recipes") if task in possible]
    check.check(("recipes", task) for task in recipes)
    for task in recipes:
        for name, given in plugins.load("recipes", task).jobs(dataset, statistics, wishes or Wishes()).items():
            start = {"task": task, "architecture": name, "dataset": dataset}
            settings = {**start, "channels": statistics.channels, **given}
            reason, transforms = settings.pop("because", None), settings.pop("augmentation", None)
            if isinstance(transforms, list):
                transforms = _policy(made.policies, dataset, task, transforms)
            job = f"{dataset}-{name}"
            made.jobs[job] = {**settings, **({} if transforms is None else {"augmentation": transforms})}
            if reason is not None:
                made.reasons[job] = reason
    return made


def jobs(dataset: str, possible: list[str], statistics: TrainStatistics, wishes: Wishes | None = None) -> Jobs:
    """The jobs alone."""
    return suggestion(dataset, possible, statistics, wishes).jobs


def _policy(policies: dict[str, dict[str, Any]], dataset: str, task: str, transforms: list[dict[str, Any]]) -> str:
    """The name of the policy with these transforms, added if there is none: the data set's, else the task's."""
    value = {"online": transforms}
    for name in (dataset, f"{dataset}-{task}"):
        if policies.setdefault(name, value) == value:
            return name
    raise ValueError(f"the recipe of {task} has three augmentations; two at most can be named")
