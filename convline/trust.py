"""`convline trust MODEL VERSION`: signs a registered model's files, so that its code may run here.

`register` runs a champion's code to compare it with a challenger. It signs the versions that it makes itself; a version
of another project or key does not run until a person who knows its origin signs it by this command.
"""

import argparse
import logging
from pathlib import Path

from pipeline import database, tracking
from pipeline.errors import UserError
from pipeline.register import trust

log = logging.getLogger(__name__)


def run(arguments: argparse.Namespace, root: Path) -> int:
    """Sign the version."""
    if not (root / database.FILE).exists():
        raise UserError(f"{root / tracking.FOLDER}: there is no MLflow database yet. Run `make repro`, which makes it.")
    trust.trust(tracking.client(root), root, arguments.model, arguments.version)
    log.info(f"{arguments.model}: version {arguments.version} is signed, and `make repro` runs its code from now on")
    return 0
