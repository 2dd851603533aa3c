"""The settings of evaluation that a task asks for: its scorer and its figures take them by name."""

from typing import Any

from pipeline import plugins
from pipeline.params import Evaluate


def arguments(settings: Evaluate, task: str) -> dict[str, Any]:
    """What the task's scorer is given besides rows: only what is not as usual, so a new setting makes nothing stale."""
    changed = settings.model_dump(exclude_defaults=True)
    return {name: changed[name] for name in plugins.options("tasks", task, "scorer") or [] if name in changed}
