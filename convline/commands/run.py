"""Run the pipeline for chosen jobs, or for the roster of params.yaml.

WHAT is a job, a data set, a study, a set of jobs, or all. The jobs go through all stages, with the jobs that they start
from; results of others stay. Jobs that are up to date are not trained again. `make repro JOBS="WHAT ..."` is the same.
"""

from pathlib import Path
from typing import Annotated

import typer

from convline import names
from pipeline import project
from pipeline.errors import UserError


def command(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="WHAT...", help="What to run, in place of the roster.", autocompletion=names.words),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Train these jobs again though they are up to date.")] = False,
) -> int:
    """Run the pipeline."""
    here = Path.cwd()
    if here.resolve() != project.ROOT.resolve():  # whose jobs would run without a word
        raise UserError(f"{here}: this convline is of {project.ROOT}. Run `source {here}/.venv/bin/activate` first.")
    from flows import repro

    return repro.run(what or (), force=force)
