"""The folder listing is the registry, read from source text alone."""

from pathlib import Path

import pytest

from pipeline import plugins
from pipeline.errors import UserError

ROOT = Path(plugins.__file__).parent
SOURCE = '''"""A plug-in."""
import a_library_that_is_not_installed

TASKS = ("classification",)
LIMIT: int = 3
BARE: int

def build(spec, *, width=8, variant: str = "paper"):
    """Not run."""
    return None

def other(spec):
    return None
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another pipeline/ with three files in models/."""
    monkeypatch.setattr(plugins, "ROOT", tmp_path)
    models = tmp_path / "models"
    models.mkdir()
    for name in ("unet", "alexnet", "_shared", "__init__"):
        (models / f"{name}.py").write_text(SOURCE)
    (models / "notes.txt").touch()
    return models


def test_a_file_is_a_plugin_and_an_underscore_is_not(folder: Path) -> None:
    assert plugins.names("models") == ["alexnet", "unet"]
    (folder / "vgg.py").write_text(SOURCE)
    assert plugins.names("models") == ["alexnet", "unet", "vgg"]
    assert plugins.source("models", "vgg") == folder / "vgg.py"


def test_constants_and_options_come_from_the_text(folder: Path) -> None:
    assert plugins.constant("models", "unet", "TASKS") == ("classification",)
    assert plugins.constant("models", "unet", "LIMIT") == 3
    assert plugins.constant("models", "unet", "BARE") is None
    assert plugins.constant("models", "unet", "LEVELS") is None
    assert plugins.options("models", "unet", "build") == ["width", "variant"]
    assert plugins.options("models", "unet", "other") == []
    assert plugins.options("models", "unet", "learner") is None


@pytest.mark.parametrize("name", ["unett", "_shared", "../models/unet", ""])
def test_a_wrong_name_is_told_the_right_ones(folder: Path, name: str) -> None:
    for ask in (plugins.source, plugins.load):
        with pytest.raises(UserError, match=r"no architecture is named '.*There are: alexnet, unet\.$"):
            ask("models", name)


def test_near_match_only_where_there_is_one() -> None:
    assert plugins.unknown("task", "clasification", ["detection", "classification"]) == (
        "no task is named 'clasification'; did you mean 'classification'? There are: classification, detection."
    )
    assert plugins.unknown("task", "xyz", ["detection"]) == "no task is named 'xyz'. There are: detection."
    assert plugins.unknown("task", "xyz", []) == "no task is named 'xyz'. There are: none."


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_every_kind_has_a_folder_with_plugins(kind: str) -> None:
    assert ROOT.joinpath(*kind.split(".")).is_dir()
    assert plugins.names(kind)


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_every_plugin_loads_by_its_name(kind: str) -> None:
    for name in plugins.names(kind):
        module = plugins.load(kind, name)
        assert module.__file__ == str(plugins.source(kind, name))
        assert module.__doc__
