"""Say what made jobs stale: which setting, data, definition or library.

WHAT is a job, a data set, a study, a set of jobs, or all; the roster, if it is left out. Nothing is changed or trained.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convline import names
from convline.frame import Json
from pipeline.terminal import json_line, output

if TYPE_CHECKING:
    from pipeline.why import Explanation, Reason

STATES = {
    "fresh": "up to date",
    "stale": "stale, as these differ from its trained model",
    "new": "not trained yet",
    "unknown": "trained by an earlier version, which kept no record of what decided it; it will be trained anew",
    "waiting": "data of an earlier stage is missing",
}
#: kinds of reasons whose values are digests
DIGESTS = ("definition", "dataset", "derived field", "staged copies", "source")


def command(
    what: Annotated[
        list[str] | None, typer.Argument(metavar="WHAT...", help="What to explain.", autocompletion=names.words)
    ] = None,
    json: Json = False,
) -> int:
    """Print how each job stands, and why."""
    from pipeline import params, why

    root = Path.cwd()
    settings = params.read(root / params.FILE)
    jobs = dict.fromkeys(settings.choose(what).resolve(what)) if what else settings.selected()
    explanations = why.explain(settings, root, [*jobs])
    if json:
        output(json_line({name: dataclasses.asdict(item) for name, item in explanations.items()}))
        return 0
    for name, explanation in explanations.items():
        output("\n".join(lines(name, explanation)))
    return 0


def lines(name: str, explanation: "Explanation") -> Iterator[str]:
    """The lines about one job."""
    yield f"{name}: {STATES[explanation.state]}{_trained(explanation.in_effect)}"
    width = max((len(reason.name) for reason in explanation.reasons), default=0)
    yield from (f"  {reason.kind:<13} {reason.name:<{width}}  {_change(reason)}" for reason in explanation.reasons)
    yield from (f"  {note}" for note in explanation.notes)


def _trained(in_effect: dict[str, Any] | None) -> str:
    """On what a model was trained, which decides nothing."""
    if in_effect is None:
        return ""
    count = in_effect["workers"]
    processes = "1 process" if count == 1 else f"{count} processes"
    return f" (trained on {in_effect['device']} in {in_effect['precision']} by {processes})"


def _change(reason: "Reason") -> str:
    """`0.05 → 0.01`; of digests, whether there is one of them, as their letters say nothing."""
    missing = "missing"
    if reason.kind not in DIGESTS:
        return f"{reason.before} → {reason.now}"
    return "added" if reason.before == missing else "removed" if reason.now == missing else "changed"
