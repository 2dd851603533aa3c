"""The absolute addresses in MLflow's database: made right where the project's folder was moved, renamed or copied.

MLflow writes down where the files of each experiment, run and model lie. A table of ours in the same database names
the folder that these addresses are of. Where that is not the folder in which the database lies, every address below
it is rewritten, and the new folder named, in one transaction: a kill at any moment leaves all of it old or all of it
new. This is done before anything else opens the database. A copied project has a copied database, so the project
that it was copied from keeps its addresses.
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
PLACE = "convline_place"
#: where MLflow keeps addresses, by table; a version of MLflow may lack some
COLUMNS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
    "trace_tags": ("value",),
}
#: seconds to wait for another process that writes
PATIENCE_S = 60


def mend(folder: Path) -> None:
    """Make the addresses those of `folder`, where the database lies; nothing to do where there is no database yet."""
    place = folder.resolve()
    with _opened(place) as database:
        if database is None or _recorded(database) == place:
            return
        database.execute("BEGIN IMMEDIATE")  # nobody else writes from here on
        for old in _former(database, place):
            _rewrite(database, old, place)
            log.info(f"MLflow: {old} is {place} now; its addresses are rewritten")
        database.execute(f"CREATE TABLE IF NOT EXISTS {PLACE} (folder TEXT NOT NULL)")
        database.execute(f"DELETE FROM {PLACE}")
        database.execute(f"INSERT INTO {PLACE} VALUES (?)", (place.as_uri(),))
        database.execute("COMMIT")


def former(folder: Path) -> list[Path]:
    """Other folders that the addresses are of; none where nothing was moved."""
    place = folder.resolve()
    with _opened(place) as database:
        return [] if database is None else _former(database, place)


@contextlib.contextmanager
def _opened(place: Path) -> Iterator[sqlite3.Connection | None]:
    """The database, or None where it is not there or has no tables yet; an open transaction ends undone."""
    file = place / DATABASE
    if not file.exists():
        yield None
        return
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=PATIENCE_S, isolation_level=None)) as database:
            yield database if _columns(database, "experiments") else None
    except sqlite3.DatabaseError as error:
        sound = isinstance(error, sqlite3.OperationalError)  # another writes, or it may not be written
        remedy = "Let nothing else write there, and make it writable" if sound else "Mend it or move it away"
        raise UserError(f"{file}: can't be used as MLflow's database ({error}). {remedy}.") from error


def _columns(database: sqlite3.Connection, table: str) -> set[str]:
    return {row[0] for row in database.execute("SELECT name FROM pragma_table_info(?)", (table,))}


def _recorded(database: sqlite3.Connection) -> Path | None:
    """The folder that our table names."""
    rows = database.execute(f"SELECT folder FROM {PLACE}").fetchall() if _columns(database, PLACE) else []
    return _path(rows[0][0]) if rows else None


def _former(database: sqlite3.Connection, place: Path) -> list[Path]:
    """The recorded folder; where none was ever recorded, those that the experiments' addresses begin with."""
    recorded = _recorded(database)
    found = [] if recorded is None else [recorded]
    if recorded is None:
        for name, address in database.execute("SELECT name, artifact_location FROM experiments ORDER BY experiment_id"):
            end = f"/artifacts/{quote(name)}"  # as tracking.experiment lays it out
            if address.startswith("file:///") and address.endswith(end):
                found.append(_path(address.removesuffix(end)))
    return [path for path in dict.fromkeys(found) if path != place]


def _rewrite(database: sqlite3.Connection, old: Path, new: Path) -> None:
    """Every address below `old`, as a file URI or a plain path, to be below `new`."""
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
