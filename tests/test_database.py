"""MLflow's file is looked at before MLflow opens it: damage, an earlier and a later version are told apart."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipeline import database, preflight, tracking
from pipeline.errors import UserError


def made(root: Path, revision: str | None) -> Path:
    path = root / database.FILE
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS runs (name TEXT)")
        connection.executemany("INSERT INTO runs VALUES (?)", [("x" * 500,)] * 200)
        if revision is not None:
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
    return path


def newest() -> str:
    (revision,) = [revision for revision, age in database.known_revisions().items() if age == "newest"]
    return revision


def test_the_newest_is_what_mlflow_says() -> None:
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    assert newest() == ScriptDirectory.from_config(_get_alembic_config("")).get_current_head()


def test_none_yet_an_empty_and_a_sound_one(tmp_path: Path) -> None:
    assert not [*database.faults(tmp_path)]
    made(tmp_path, None)
    assert not [*database.faults(tmp_path)]
    (tmp_path / database.FILE).unlink()
    made(tmp_path, newest())
    assert not [*database.faults(tmp_path)]


def test_an_earlier_and_a_later_one(tmp_path: Path) -> None:
    earlier = next(revision for revision, age in database.known_revisions().items() if age == "earlier")
    path = made(tmp_path, earlier)
    ((what, remedy),) = database.faults(tmp_path)
    assert what == f"{path}: is of an earlier MLflow"
    assert f"`mlflow db upgrade 'sqlite:///{path}'`" in remedy
    path.unlink()
    made(tmp_path, "fedcba987654")
    with pytest.raises(UserError, match=r"is of a later MLflow.*fedcba987654.*requirements\.lock"):
        preflight.check(tmp_path, (database.faults,))


@pytest.mark.parametrize("at", [0, 4096 * 2 + 100])
def test_a_damaged_one_is_refused_before_mlflow_tries_it(tmp_path: Path, at: int) -> None:
    path = made(tmp_path, newest())
    data = bytearray(path.read_bytes())
    data[at : at + 3000] = b"\xff" * 3000
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"the database of MLflow is damaged .* move it away"):
        tracking.client(tmp_path)
    assert path.read_bytes() == bytes(data)
