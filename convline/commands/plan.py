"""Say what a run would train, why, and how long that took last time.

WHAT is a job, a data set, a study, a set of jobs, or all; the roster, if it is left out. Nothing is changed or trained.
`convline why` says all that made a job stale.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convline import names
from convline.frame import Json
from pipeline.terminal import json_line, output

if TYPE_CHECKING:
    from pipeline.why import Explanation

WORDS = {
    "fresh": "up to date",
    "stale": "train anew",
    "new": "train",
    "unknown": "train anew: an earlier version trained it",
    "waiting": "train, once its data is there",
}


def command(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="WHAT...", help="What would be run.", autocompletion=names.words)
    ] = None,
    json: Json = False,
) -> int:
    """Print the plan."""
    from pipeline import params, store, why

    root = Path.cwd()
    settings = params.read(root / params.FILE)
    selected = (settings.choose(what) if what else settings).selected()
    explanations = why.explain(settings, root, [*selected])
    speeds = store.read_json(root / "reports/speed.json", {})
    rows = [_row(name, item, speeds.get(name, {}).get("train_s")) for name, item in explanations.items()]
    free_gb = shutil.disk_usage(root).free / 1e9
    if json:
        output(json_line({"jobs": rows, "free_gb": round(free_gb, 1)}))
        return 0
    width = max(len(row["job"]) for row in rows)
    for row in rows:
        minutes = "" if row["last_seconds"] is None else f"  ({row['last_seconds'] / 60:.1f} min last time)"
        output(f"{row['job']:<{width}}  {row['plan']}{minutes if row['state'] != 'fresh' else ''}")
    output(_total(rows, free_gb))
    return 0


def _row(name: str, explanation: "Explanation", seconds: float | None) -> dict[str, Any]:
    """What happens to one job, with the first reason."""
    text = WORDS[explanation.state]
    if explanation.reasons:
        first, others = explanation.reasons[0], len(explanation.reasons) - 1
        text += f": {first.kind} {first.name}" + (f" and {others} more" if others else "")
    elif explanation.notes:
        text += f": {explanation.notes[0]}"
    return {"job": name, "state": explanation.state, "plan": text, "last_seconds": seconds}


def _total(rows: list[dict[str, Any]], free_gb: float) -> str:
    """`2 of 9 jobs to train: 1.5 min last time, 1 of them without a time; 69 GB of disk are free`"""
    stale = [row for row in rows if row["state"] != "fresh"]
    seconds = [row["last_seconds"] for row in stale if row["last_seconds"] is not None]
    parts = [f"{sum(seconds) / 60:.1f} min last time"] if seconds else []
    if unknown := len(stale) - len(seconds):
        parts.append(f"{unknown} of them for the first time here")
    times = f": {', '.join(parts)}" if stale else ""
    return f"{len(stale)} of {len(rows)} jobs to train{times}; {free_gb:,.0f} GB of disk are free"
