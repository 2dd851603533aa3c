"""Names that a person may give to commands, as a shell completes them; none outside a project or in a faulty one."""

from pathlib import Path
from typing import TYPE_CHECKING

from convline import frame
from pipeline import plugins
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.params import Params


def jobs() -> list[str]:
    """Jobs of params.yaml."""
    settings = _settings()
    return list(settings.jobs) if settings else []


def datasets() -> list[str]:
    """Data sets of params.yaml."""
    settings = _settings()
    return list(settings.datasets) if settings else []


def words() -> list[str]:
    """What can be run: jobs, data sets, studies, sets of jobs, and all."""
    settings = _settings()
    return settings.words() if settings else []


def models() -> list[str]:
    """What can be asked: folders of models/, and registered models."""
    try:
        folders = (frame.project(Path.cwd()) / "models").glob("*")
    except UserError:
        return []
    return sorted({path.name for path in folders if path.is_dir()} | set(registered_models()))


def registered_models() -> list[str]:
    """Models that the project has registered."""
    from pipeline import registered, store

    try:
        return sorted(registered.entries(frame.project(Path.cwd())))
    except (UserError, store.StoreError):
        return []


def folder_formats() -> list[str]:
    """Formats that read a folder; others read what is embedded."""
    kind = "prepare.formats"
    return [name for name in plugins.names(kind) if plugins.options(kind, name, "recognise") is not None]


def _settings() -> "Params | None":
    from pipeline import params

    try:
        return params.read(frame.project(Path.cwd()) / params.FILE, empty=True)
    except UserError:
        return None
