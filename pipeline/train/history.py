"""Learning curves at rest: `history.csv`, a row an epoch, no times in it."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FILE = "history.csv"


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows; a column that a row lacks stays empty."""
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["epoch"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read(path: Path) -> list[dict[str, float]]:
    """The rows; a value that was not measured in an epoch is left out."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value != ""} for row in csv.DictReader(file)]
