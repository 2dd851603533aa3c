"""The settings of evaluation that a task's scorer and figures take as keyword arguments."""

from typing import Any

from pipeline import plugins
from pipeline.params import Evaluate


def arguments(settings: Evaluate, task: str) -> dict[str, Any]:
    """Keyword arguments of the task's scorer: only values that are not the default, so a new setting stales nothing."""
    changed = settings.model_dump(exclude_defaults=True)
    return {name: changed[name] for name in plugins.options("tasks", task, "scorer") or [] if name in changed}
