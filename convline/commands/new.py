"""Write a plug-in of your own, which works, to be edited.

It is written into plugins/. KIND is architecture, task, format, transform, derived or section. NAME becomes the file's
name, by which params.yaml names it. No file is overwritten. plugins/README.md lists the kinds, and pipeline/contracts/
says what each holds.
"""

import keyword
import logging
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from convline.frame import Json
from pipeline import plugins, store
from pipeline.errors import UserError
from pipeline.terminal import json_line, output

log = logging.getLogger(__name__)

SKELETONS = Path(__file__).parents[1] / "skeletons"
#: word of the command → kind of plug-in, and how params.yaml names it
KINDS = {
    "architecture": ("models", "a job's `architecture: {name}`"),
    "task": ("tasks", "a job's `task: {name}`"),
    "format": ("prepare.formats", "a dataset's `format: {name}`"),
    "transform": ("augment.transforms", "`- {name}: {{}}` in an augmentation"),
    "derived": ("augment.derived", "`derived: {{{name}: {{}}}}` of a dataset, and NEEDS of an architecture"),
    "section": ("report.sections", "nothing: the report shows it"),
}


def kinds() -> list[str]:
    """The kinds, as a shell completes them."""
    return list(KINDS)


def command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of {', '.join(KINDS)}.", autocompletion=kinds)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="A Python name that no plug-in of this kind has.")],
    json: Json = False,
) -> int:
    """Write the file."""
    if kind not in KINDS:
        raise UserError(plugins.unknown("kind of plug-in", kind, KINDS))
    listing, use = KINDS[kind]
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise UserError(f"{name!r}: not a name of a Python module that is a plug-in. Give letters, digits and '_'.")
    if name in plugins.names(listing):
        raise UserError(f"{plugins.displayed(plugins.source(listing, name))} has this name already. Give another.")
    path = plugins.own_folder(listing) / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    store.write_bytes(path, skeleton(kind, name).encode())
    shown = plugins.displayed(path)
    if json:
        output(json_line({"file": shown}))
    else:
        log.info(f"{shown} is written; what names it: {use.format(name=name)}")
    return 0


def skeleton(kind: str, name: str) -> str:
    """The text of a new plug-in's file."""
    listing, _ = KINDS[kind]
    orders = [plugins.constant(listing, each, "ORDER") for each in plugins.names(listing)]  # of sections
    order = next(number for number in range(55, 1000) if number not in orders)
    text = (SKELETONS / f"{kind}.py.txt").read_text(encoding="utf-8")
    return Template(text).substitute(name=name, title=name.replace("_", " ").capitalize(), order=order)
