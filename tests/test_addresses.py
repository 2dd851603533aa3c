"""A moved, renamed or copied MLflow store: its addresses follow, in one transaction, and the original's stay."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import addresses, tracking
from pipeline.errors import UserError

REPO = Path(__file__).parents[1]
SETTINGS = {"dataset": "digits", "task": "classification", "architecture": "linear"}
ODD = "mein Projekt [1] (ä) 'x' 50%"
KILL = """
import os, sqlite3, sys
from pathlib import Path
from pipeline import addresses

count, connect = int(sys.argv[2]), sqlite3.connect

def watched(*given, **named):
    database = connect(*given, **named)
    def count_down(statement):
        global count
        count -= 1
        if count < 0:
            os._exit(9)
    database.set_trace_callback(count_down)
    return database

sqlite3.connect = watched
addresses.update(Path(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a run, its artifact, a logged model and a version that is champion; don't write here."""
    root = tmp_path_factory.mktemp("addresses") / ODD
    root.mkdir()
    with contextlib.chdir(root):  # where MLflow puts what is in no experiment of ours
        client = tracking.client(root)
    run = tracking.run(client, root, "job", "f" * 64, SETTINGS)
    (root / "note.txt").write_text("hello")
    client.log_artifact(run.run_id, str(root / "note.txt"))
    number = client.get_run(run.run_id).info.experiment_id
    model = client.create_logged_model(number, name="model", source_run_id=run.run_id)
    client.create_registered_model("digits-classification")
    for source in (f"models:/{model.model_id}", client.get_run(run.run_id).info.artifact_uri):
        version = client.create_model_version("digits-classification", source, run_id=run.run_id)
        client.set_registered_model_alias("digits-classification", "champion", version.version)
    return root


@pytest.fixture
def moved(made: Path, tmp_path: Path) -> Callable[..., Path]:
    """`moved("name")` is a copy of the project in another folder."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(made, tmp_path / name, symlinks=True))

    return copy


def told(root: Path) -> list[str]:
    """Every address in the database."""
    found = []
    with sqlite3.connect(root / "mlruns/mlflow.db") as database:
        for table, columns in addresses.COLUMNS.items():
            for column in columns:
                found += [row[0] for row in database.execute(f"SELECT {column} FROM {table}")]
    database.close()
    return sorted(found)


def of(root: Path) -> list[str]:
    """The addresses that a project in this folder has, given those of one that was never moved."""
    mlruns = root / "mlruns"
    places = [address for address in told(root) if address.startswith((mlruns.as_uri(), str(mlruns)))]
    others = [address for address in told(root) if address.startswith("models:/")]
    assert len(others) == 1
    return sorted(places + others)


def dump(root: Path) -> list[str]:
    database = sqlite3.connect(root / "mlruns/mlflow.db")
    lines = list(database.iterdump())
    database.close()
    return lines


def forget(root: Path) -> None:
    """Make the store one of an earlier version, which recorded nothing."""
    database = sqlite3.connect(root / "mlruns/mlflow.db")
    database.execute(f"DROP TABLE IF EXISTS {addresses.TABLE}")
    database.close()


@pytest.mark.parametrize("name", ["plain", "b ü [2] (x) it's 10%25", "tail/deep/er"])
@pytest.mark.parametrize("recorded", [True, False])
def test_addresses_follow_the_folder(
    moved: Callable[..., Path], made: Path, name: str, recorded: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dump(made)
    root = moved(name)
    addresses.update(made / "mlruns") if recorded else forget(root)
    assert addresses.former_folders(root / "mlruns") == [made / "mlruns"]
    addresses.update(root / "mlruns")
    assert told(root) == of(root)
    assert len(told(root)) == len(told(made)) == 8
    assert f"{made / 'mlruns'} is {root / 'mlruns'} now" in capsys.readouterr().out
    assert addresses.former_folders(root / "mlruns") == []
    addresses.update(root / "mlruns")
    assert capsys.readouterr().out == ""
    assert [line for line in dump(made) if addresses.TABLE not in line] == [
        line for line in before if addresses.TABLE not in line
    ]


def test_mlflow_finds_and_writes_files_in_the_new_folder_alone(
    moved: Callable[..., Path], made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._artifact_repos_cache", OrderedDict())  # a new process

    def files() -> set[Path]:
        return set((made / "mlruns/artifacts").rglob("*"))

    before, root = files(), moved("neu ü")
    client = tracking.client(root)
    run = tracking.run(client, root, "job", "f" * 64, SETTINGS)
    assert [item.path for item in client.list_artifacts(run.run_id)] == ["note.txt"]
    assert Path(client.download_artifacts(run.run_id, "note.txt")).read_text() == "hello"
    (root / "more.txt").write_text("more")
    other = tracking.run(client, root, "other", "e" * 64, SETTINGS)
    for each in (run, other):
        client.log_artifact(each.run_id, str(root / "more.txt"))
    assert len(list((root / "mlruns").rglob("more.txt"))) == 2
    place = client.get_model_version_download_uri("digits-classification", "2")
    assert place.startswith((root / "mlruns").as_uri())
    assert files() == before


def test_a_kill_before_any_statement_leaves_all_old_or_all_new(moved: Callable[..., Path], tmp_path: Path) -> None:
    root = moved("killed")
    forget(root)
    kept, old, killed = tmp_path / "kept.db", told(root), 0
    shutil.copy(root / "mlruns/mlflow.db", kept)
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    for number in range(100):
        shutil.copy(kept, root / "mlruns/mlflow.db")
        command = [sys.executable, "-c", KILL, str(root / "mlruns"), str(number)]
        code = subprocess.run(command, env=environment, capture_output=True, check=False).returncode
        if code == 0:
            break
        assert code == 9
        killed += 1
        assert told(root) == old
        addresses.update(root / "mlruns")
        assert told(root) == of(root)
    assert killed > 10
    assert told(root) == of(root)


def test_a_worktree_that_links_to_the_store_is_no_move(made: Path, tmp_path: Path) -> None:
    (tmp_path / tracking.FOLDER).symlink_to(made / tracking.FOLDER)
    assert addresses.former_folders(tmp_path / tracking.FOLDER) == []


def test_a_project_that_is_reached_by_a_link_is_no_move(moved: Callable[..., Path], tmp_path: Path) -> None:
    root = moved("real")
    addresses.update(root / "mlruns")
    (tmp_path / "link").symlink_to(root)
    assert addresses.former_folders(tmp_path / "link/mlruns") == []


def test_addresses_of_other_folders_stay(moved: Callable[..., Path], made: Path) -> None:
    root = moved("other")
    elsewhere = ["s3://bucket/x", f"{(made / 'mlruns').as_uri()}-2/x", "file:///elsewhere/artifacts/mine"]
    database = sqlite3.connect(root / "mlruns/mlflow.db")
    for number, address in enumerate(elsewhere):
        row: tuple[Any, ...] = (f"mine{number}", address)
        database.execute("INSERT INTO experiments (name, artifact_location) VALUES (?, ?)", row)
    database.commit()
    database.close()
    addresses.update(root / "mlruns")
    assert set(elsewhere) <= set(told(root))


def test_no_database_is_none_to_mend_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    addresses.update(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / addresses.DATABASE).write_text("no database at all" * 100)
    with pytest.raises(UserError, match=r"mlflow\.db: can't be used as MLflow's database"):
        addresses.update(tmp_path)
