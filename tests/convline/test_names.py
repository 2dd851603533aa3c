"""Names of a project are completed without its libraries; where there is no project or it is faulty, none are."""

import subprocess
import sys
from pathlib import Path

import pytest

from convline import names
from pipeline import registered, store
from tests.helpers import support

HEAVY = ("torch", "mlflow", "prefect", "ray", "dvc")
LISTS = (names.jobs, names.datasets, names.words, names.models, names.registered_models)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    support.write_params(tmp_path, {"linear": {}, "lenet": {"seed": 1}})
    (tmp_path / "dvc.yaml").touch()
    for name in ("linear", "former"):
        (tmp_path / "models" / name).mkdir(parents=True)
    store.write_json(tmp_path / registered.FILE, {"digits-classification": {}})
    monkeypatch.chdir(tmp_path / "models")
    return tmp_path


def test_names_are_those_of_the_project(root: Path) -> None:
    assert names.jobs() == ["linear", "lenet"]
    assert names.datasets() == ["digits"]
    assert names.words() == ["linear", "lenet", "digits", "all"]
    assert names.models() == ["digits-classification", "former", "linear"]
    assert names.registered_models() == ["digits-classification"]
    assert "csv" in names.folder_formats()
    assert "digits" not in names.folder_formats()


def test_no_library_is_imported_for_names(root: Path) -> None:
    calls = "; ".join(f"print(names.{each.__name__}())" for each in LISTS)
    code = f"import sys; from convline import names; {calls}; print([n for n in {HEAVY!r} if n in sys.modules])"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "['linear', 'lenet']"
    assert done.stdout.endswith("\n[]\n")


def test_a_faulty_project_has_no_names(root: Path) -> None:
    (root / "params.yaml").write_text("jobs: [")
    (root / registered.FILE).write_text("{")
    assert [names.jobs(), names.datasets(), names.words(), names.registered_models()] == [[]] * 4
    assert names.models() == ["former", "linear"]


def test_outside_a_project_there_are_no_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [each() for each in LISTS] == [[]] * len(LISTS)
