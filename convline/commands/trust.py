"""Sign a version of a registered model: its code may then run here.

`register` runs a champion's code to compare it with a challenger. It signs the versions that it makes itself with the
project's key; a version of another project or key does not run until it is signed by this command. Sign it only if you
know where it is from.
"""

import logging
from pathlib import Path
from typing import Annotated

import typer

from convline import names
from convline.frame import Json
from pipeline.errors import UserError
from pipeline.terminal import json_line, output

log = logging.getLogger(__name__)


def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="The registered model: digits-classification, ...",
            autocompletion=names.registered_models,
        ),
    ],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The number of its version.")],
    json: Json = False,
) -> int:
    """Sign the version."""
    from pipeline import database, tracking
    from pipeline.register import trust

    root = Path.cwd()
    if not (root / database.FILE).exists():
        raise UserError(f"{root / tracking.FOLDER}: there is no MLflow database yet. Run `make repro`, which makes it.")
    trust.trust(tracking.client(root), root, model, version)
    log.info(f"{model}: version {version} is signed, and `make repro` runs its code from now on")
    if json:
        output(json_line({"model": model, "version": version, "signed": True}))
    return 0
