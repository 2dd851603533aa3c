"""A user's own `plugins/` folder in a temporary project."""

import sys
from pathlib import Path

import pytest

from pipeline import plugins


def shipped(kind: str) -> list[str]:
    """Names of the plug-ins of the pipeline, without a user's own."""
    return sorted(set(plugins.names(kind)) - set(plugins.own_names(kind)))


def use(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let plug-ins be looked up in `project`/plugins, too; returns that folder."""
    own = project / "plugins"
    own.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(plugins, "OWN", own)
    monkeypatch.setattr(sys, "path", [str(project), *sys.path])
    for module in [name for name in sys.modules if name.partition(".")[0] == "plugins"]:
        monkeypatch.delitem(sys.modules, module)
    return own


def write(own: Path, kind: str, name: str, text: str) -> Path:
    """Write a plug-in of a kind into the folder."""
    path = own / kind.rpartition(".")[2] / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
