"""Checks MLflow's SQLite file before MLflow opens it: that it is intact, and of a version that this MLflow reads.

MLflow itself retries a damaged file for a minute, and ends with a traceback.
"""

import contextlib
import importlib.util
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

FILE = "mlruns/mlflow.db"
REVISION = re.compile(r"^(down_)?revision(?:: [^=]+)? = [\"'](\w+)[\"']", re.MULTILINE)


def faults(root: Path) -> Iterator[tuple[str, str]]:
    """The problem of the file and its remedy; none if there is no file yet, or it is intact."""
    path = (root / FILE).resolve()
    if not path.is_file():
        return
    try:
        revision = _revision(path)
    except sqlite3.OperationalError as error:
        if "locked" not in str(error) and "busy" not in str(error):  # else another process is writing to it
            yield f"{path}: can't be opened ({error})", "Check its owner, its permissions and its disk."
        return
    except (sqlite3.DatabaseError, ValueError) as error:
        remedy = "Restore a copy, or move it away: `make repro` then makes runs, versions and champions again."
        yield f"{path}: the database of MLflow is damaged ({' '.join(str(error).split())})", remedy
        return
    revisions = known_revisions()
    if revision is None or not revisions or revisions.get(revision) == "newest":
        return
    if revision in revisions:
        upgrade = f"`mlflow db upgrade 'sqlite:///{path}'`"
        yield f"{path}: is of an earlier MLflow", f"Make a copy, then upgrade it by {upgrade}."
    else:
        remedy = "Use the requirements.lock that it was made with (`make setup`), or move it away."
        yield f"{path}: is of a later MLflow, which this one can't read (its tables are {revision})", remedy


def _revision(path: Path) -> str | None:
    """MLflow's revision of the tables; None if there are none yet. ValueError if pages are damaged."""
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as connection:
        ((state,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
        if state != "ok":
            raise ValueError(state)
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchall():
            return None
        return next((str(row[0]) for row in connection.execute("SELECT version_num FROM alembic_version")), None)


def known_revisions() -> dict[str, str]:
    """The revisions that the installed MLflow has, `earlier` or `newest`; read from its files, not imported."""
    spec = importlib.util.find_spec("mlflow")
    folders = spec.submodule_search_locations if spec is not None else None
    revisions, earlier = set[str](), set[str]()
    for folder in folders or []:
        for file in Path(folder, "store/db_migrations/versions").glob("*.py"):
            for down, revision in REVISION.findall(file.read_text(encoding="utf-8")):
                (earlier if down else revisions).add(revision)
    return {revision: "earlier" if revision in earlier else "newest" for revision in revisions}
