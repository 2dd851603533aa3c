"""Lays out the packed project with the code of this tree, as after a pull that kept the user's params.yaml."""

import subprocess
import sys
import tarfile
from pathlib import Path

from benchmarks.parts.clone import copy_tree
from pipeline import addresses
from tests.data.upgrade.make import ARCHIVE, PLACEHOLDER


def lay_out(folder: Path) -> None:
    """Write this tree and the project into a folder; addresses of MLflow and of all files are the folder's then."""
    copy_tree(folder)
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
        names = [entry.name for entry in archive if entry.isfile()]
    old, new = PLACEHOLDER.encode(), str(folder).encode()
    for name in names:
        path = folder / name
        if path.suffix != ".db" and old in (content := path.read_bytes()):
            path.write_bytes(content.replace(old, new))
    addresses.update(folder / "mlruns")
    (folder / ".venv").symlink_to(Path(sys.prefix))
    commit = "git init -q && git add -A && git -c user.name=a -c user.email=a@b commit -qm project"
    subprocess.run(["bash", "-c", commit], cwd=folder, check=True)
