"""Learning curves at rest: `history.csv`, one row per epoch, without times."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.metric_names import renamed

FILE = "history.csv"


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write one row per epoch; a value that a row lacks stays empty."""
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["epoch"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read(path: Path) -> list[dict[str, float]]:
    """Read the rows, with today's names of metrics; values that were not measured or are not finite are left out."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [{renamed(name): float(text or "nan") for name, text in row.items()} for row in csv.DictReader(file)]
    return [{name: value for name, value in row.items() if math.isfinite(value)} for row in rows]
