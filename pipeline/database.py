"""MLflow's SQLite file, looked at before MLflow opens it: that it is whole, and of the tables that this MLflow knows.

MLflow itself tries a damaged file for a minute, and ends with a traceback.
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
    """What is wrong with the file, and the remedy; nothing where there is no file yet, or it is sound."""
    path = (root / FILE).resolve()
    if not path.is_file():
        return
    try:
        revision = _revision(path)
    except sqlite3.OperationalError as error:
        if "locked" not in str(error) and "busy" not in str(error):  # else another process writes to it
            yield f"{path}: can't be opened ({error})", "Look at its owner, its permissions and its disk."
        return
    except (sqlite3.DatabaseError, ValueError) as error:
        remedy = "Put a copy back, or move it away: `make repro` then makes runs, versions and champions again."
        yield f"{path}: the database of MLflow is damaged ({' '.join(str(error).split())})", remedy
        return
    known = revisions()
    if revision is None or not known or known.get(revision) == "newest":
        return
    if revision in known:
        upgrade = f"`mlflow db upgrade 'sqlite:///{path}'`"
        yield f"{path}: is of an earlier MLflow", f"Copy it to a safe place, then bring it up to date by {upgrade}."
    else:
        remedy = "Go on with the requirements.lock that it was made with (`make setup`), or move it away."
        yield f"{path}: is of a later MLflow, which this one can't read (its tables are {revision})", remedy


def _revision(path: Path) -> str | None:
    """What MLflow calls the state of the tables; None where it has made none yet. ValueError if pages are damaged."""
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as connection:
        ((state,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
        if state != "ok":
            raise ValueError(state)
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchall():
            return None
        return next((str(row[0]) for row in connection.execute("SELECT version_num FROM alembic_version")), None)


def revisions() -> dict[str, str]:
    """The states that the installed MLflow knows, `earlier` or `newest`; read from its files, not imported."""
    found = importlib.util.find_spec("mlflow")
    places = found.submodule_search_locations if found is not None else None
    known, before = set[str](), set[str]()
    for folder in places or []:
        for file in Path(folder, "store/db_migrations/versions").glob("*.py"):
            for down, revision in REVISION.findall(file.read_text(encoding="utf-8")):
                (before if down else known).add(revision)
    return {revision: "earlier" if revision in before else "newest" for revision in known}
