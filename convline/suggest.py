"""Suggests first jobs for a dataset: small networks that train in minutes on two cores, to be edited.

They come from the recipes of the tasks (pipeline/recipes/, plugins/recipes/).
"""

from typing import Any

from pipeline import plugins
from pipeline.contracts import check
from pipeline.recipes.parts.statistics import TrainStatistics as TrainStatistics
from pipeline.sample import Facts

Jobs = dict[str, dict[str, Any]]


def tasks(facts: Facts) -> list[str]:
    """Tasks whose needs every sample meets; not those without needs, which are always possible."""
    needs = {name: plugins.constant("tasks", name, "NEEDS") for name in plugins.names("tasks")}
    return [name for name, needed in needs.items() if needed and set(needed) <= set(facts.fields)]


def jobs(dataset: str, possible: list[str], statistics: TrainStatistics) -> Jobs:
    """First jobs by name, for the tasks that have a recipe."""
    suggested: Jobs = {}
    recipes = [task for task in plugins.names("recipes") if task in possible]
    check.check(("recipes", task) for task in recipes)
    for task in recipes:
        for name, settings in plugins.load("recipes", task).jobs(dataset, statistics).items():
            start = {"task": task, "architecture": name, "dataset": dataset}
            suggested[f"{dataset}-{name}"] = {**start, "channels": statistics.channels, **settings}
    return suggested
