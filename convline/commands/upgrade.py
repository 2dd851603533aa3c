"""Write params.yaml of an earlier version in the form of this one.

For a project that has pulled this version. Shipped jobs and studies that you did not change are in params/ now; yours
stay, and the same jobs run as before. The champion, its history and MLflow's runs stay as they are. What changes, and
which jobs the next run trains anew, is shown before params.yaml is written.
"""

import logging
from pathlib import Path
from typing import Annotated

import typer

from convline.frame import Json
from pipeline.terminal import json_line, output

log = logging.getLogger(__name__)


def command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and write nothing.")] = False,
    json: Json = False,
) -> int:
    """Upgrade the project."""
    from convline import upgrading

    show = output if dry_run and not json else log.info
    upgraded = upgrading.upgrade(Path.cwd(), dry_run=dry_run, show=show)
    if json:
        output(json_line({**upgraded, "dry_run": dry_run}))
    return 0
