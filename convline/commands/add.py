"""Recognise a folder of images, and add it and first jobs to params.yaml.

The folder is read as `prepare` reads it, copied to data/raw/ unless it lies there, and added to DVC. First jobs are
suggested for the tasks that its labels allow. A failure leaves the project unchanged.
"""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from convline import names
from convline.frame import Json
from pipeline.terminal import json_line, output

log = logging.getLogger(__name__)


def command(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Its name in params.yaml, not the folder's.")] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="Its format, instead of the recognised one: coco, csv, image_folder, ...",
            autocompletion=names.folder_formats,
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'NAME: VALUE'",
            help="An option of the format, as in params.yaml: 'classes: [background, road]'. May be repeated.",
        ),
    ] = None,
    on_bad: Annotated[
        Literal["error", "skip"], typer.Option(help="What faulty images do; skip leaves them out.")
    ] = "error",
    preset: Annotated[
        Literal["fast", "good", "best"],
        typer.Option(help="How much time first jobs may take: minutes, an hour, more; from `good` on, weights learn."),
    ] = "fast",
    minutes: Annotated[
        float | None, typer.Option(min=1, metavar="N", help="How long all first jobs may train; they get fewer epochs.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, and write nothing.")] = False,
    json: Json = False,
) -> int:
    """Add a folder to the project."""
    from convline import adding

    wishes = adding.Wishes(name, format, option or (), on_bad, dry_run, preset, minutes, measure=True)
    added = adding.add(path, Path.cwd(), wishes)
    if json:
        output(json_line({**added, "dry_run": dry_run}))
    elif dry_run:
        output(added["diff"])
    if dry_run:
        log.info("dry run: nothing was written or copied")
    return 0
