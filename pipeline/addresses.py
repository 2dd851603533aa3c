"""Updates the absolute addresses in MLflow's database after the project's folder was moved, renamed or copied.

MLflow stores absolute paths of the files of each experiment, run and model. A table of ours in the same database names
the folder that these addresses begin with. If that is not the database's folder, one transaction rewrites all
addresses and the folder's name: a kill at any moment leaves all of them old or all of them new. This happens before
anything else opens the database. A copied project has its own copy of the database, so the original is not changed.
"""

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pipeline.errors import UserError

log = logging.getLogger(__name__)

DATABASE = "mlflow.db"
TABLE = "convline_place"
#: MLflow's columns of addresses, by table; a version of MLflow may lack some
COLUMNS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
    "trace_tags": ("value",),
}
#: seconds to wait while another process writes
TIMEOUT_S = 60


def update(folder: Path) -> None:
    """Make the addresses begin with `folder`, which holds the database; does nothing if there is no database yet."""
    folder = folder.resolve()
    with _opened(folder) as database:
        if database is None or _recorded_folder(database) == folder:
            return
        database.execute("BEGIN IMMEDIATE")  # nobody else writes from here on
        for old in _former_folders(database, folder):
            _rewrite(database, old, folder)
            log.info(f"MLflow: {old} is {folder} now; its addresses are rewritten")
        database.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (folder TEXT NOT NULL)")
        database.execute(f"DELETE FROM {TABLE}")
        database.execute(f"INSERT INTO {TABLE} VALUES (?)", (folder.as_uri(),))
        database.execute("COMMIT")


def former_folders(folder: Path) -> list[Path]:
    """Other folders that addresses begin with; empty if the project was not moved."""
    folder = folder.resolve()
    with _opened(folder) as database:
        return [] if database is None else _former_folders(database, folder)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[sqlite3.Connection | None]:
    """The database, or None if it does not exist or has no tables yet; an open transaction is rolled back."""
    file = folder / DATABASE
    if not file.exists():
        yield None
        return
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=TIMEOUT_S, isolation_level=None)) as database:
            yield database if _columns(database, "experiments") else None
    except sqlite3.DatabaseError as error:
        intact = isinstance(error, sqlite3.OperationalError)  # locked, or not writable
        remedy = "Stop other programs that write to it, and make it writable" if intact else "Repair it or move it away"
        raise UserError(f"{file}: can't be used as MLflow's database ({error}). {remedy}.") from error


def _columns(database: sqlite3.Connection, table: str) -> set[str]:
    return {row[0] for row in database.execute("SELECT name FROM pragma_table_info(?)", (table,))}


def _recorded_folder(database: sqlite3.Connection) -> Path | None:
    """The folder that our table names."""
    rows = database.execute(f"SELECT folder FROM {TABLE}").fetchall() if _columns(database, TABLE) else []
    return _path(rows[0][0]) if rows else None


def _former_folders(database: sqlite3.Connection, folder: Path) -> list[Path]:
    """The recorded folder; if none was ever recorded, those that the experiments' addresses begin with."""
    recorded = _recorded_folder(database)
    folders = [] if recorded is None else [recorded]
    if recorded is None:
        for name, address in database.execute("SELECT name, artifact_location FROM experiments ORDER BY experiment_id"):
            end = f"/artifacts/{quote(name)}"  # as tracking.experiment lays it out
            if address.startswith("file:///") and address.endswith(end):
                folders.append(_path(address.removesuffix(end)))
    return [path for path in dict.fromkeys(folders) if path != folder]


def _rewrite(database: sqlite3.Connection, old: Path, new: Path) -> None:
    """Replace `old` by `new` at the start of every address, as a file URI or a plain path."""
    for table, columns in COLUMNS.items():
        for column in set(columns) & _columns(database, table):
            for before, after in ((old.as_uri(), new.as_uri()), (str(old), str(new))):
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (after, len(before) + 1, before, len(before) + 1, f"{before}/"),
                )


def _path(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))
