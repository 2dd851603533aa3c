"""The folder listing is the registry, read from source text alone."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import plugins
from pipeline.errors import UserError
from tests.helpers import own_plugins

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
def test_a_wrong_name_is_answered_with_the_right_ones(folder: Path, name: str) -> None:
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


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_plugins.use(tmp_path, monkeypatch)


def test_own_plug_ins_are_found_beside_those_of_the_pipeline(own: Path) -> None:
    path = own_plugins.write(own, "prepare.formats", "mine", '"""Mine."""\n\ndef read(path, *, table="a"): ...\n')
    assert path == own / "formats/mine.py"
    assert {"mine", "coco"} <= set(plugins.names("prepare.formats"))
    assert plugins.own_names("prepare.formats") == ["mine"]
    assert plugins.source("prepare.formats", "mine") == path
    assert plugins.options("prepare.formats", "mine", "read") == ["table"]
    module = plugins.load("prepare.formats", "mine")
    assert (module.__name__, module.__file__) == ("plugins.formats.mine", str(path))
    assert plugins.displayed(path) == "plugins/formats/mine.py"


def test_a_name_that_exists_twice_names_both_files(own: Path) -> None:
    own_plugins.write(own, "models", "unet", "")
    with pytest.raises(UserError, match=r"plugins/models/unet\.py and pipeline/models/unet\.py.*Rename"):
        plugins.names("models")


def test_options_follow_a_function_into_the_file_that_it_is_taken_from(own: Path) -> None:
    text = (
        "from pipeline.tasks import classification as base\nfrom pipeline.tasks.segmentation import learner as other\n"
    )
    own_plugins.write(own, "tasks", "mine", f"{text}import numpy as np\nlearner = base.learner\nrows = np.sum\n")
    assert plugins.options("tasks", "mine", "learner") == plugins.options("tasks", "classification", "learner")
    assert plugins.options("tasks", "mine", "other") == plugins.options("tasks", "segmentation", "learner")
    assert plugins.options("tasks", "mine", "rows") is None


def test_a_new_process_finds_own_plug_ins_as_ray_workers_do(own: Path, tmp_path: Path) -> None:
    own_plugins.write(own, "models", "mine", "NAME = __name__\n")
    program = "import plugins.models.mine as mine; print(mine.NAME)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, env=environment, cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "plugins.models.mine"


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_a_plug_in_folder_has_its_readme_and_points_to_its_contract(kind: str) -> None:
    package = importlib.import_module(f"pipeline.{kind}")
    assert "pipeline/contracts/" in (package.__doc__ or "")
    assert f"`{kind.rpartition('.')[2]}/" in (plugins.OWN / "README.md").read_text(encoding="utf-8")


def test_the_copy_of_the_code_in_a_registered_model_finds_own_plug_ins(tmp_path: Path) -> None:
    """MLflow puts `pipeline` and `plugins` into one folder, and that before all others on the path."""
    code = tmp_path / "code"
    shutil.copytree(ROOT, code / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    own_plugins.write(code / "plugins", "models", "mine", "NAME = __name__\n")
    program = (
        f"import sys; sys.path.insert(0, {str(code)!r}); from pipeline import plugins; "
        "print(plugins.load('models', 'mine').__file__, plugins.load('models', 'mine').NAME)"
    )
    run = [sys.executable, "-P", "-c", program]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(code / "plugins/models/mine.py"), "plugins.models.mine"]
