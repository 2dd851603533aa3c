"""What `convline doctor` says of the project's surroundings: disks, git, half merged files, images, Ray's address."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline import database, disk, surroundings

PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def faults(root: Path) -> Iterator[tuple[str, str]]:
    """What `make repro` would refuse, and the folder of temporary files; MLflow's file is another check's."""
    for look in surroundings.BEFORE_REPRO:
        if look is not database.faults:
            yield from look(root)
    place = Path(tempfile.gettempdir())
    if (left := shutil.disk_usage(place).free) < disk.LEAST_BYTES:
        yield f"{place}: {left:,} bytes are free for temporary files", "Make room there, or set TMPDIR to another."


def notes() -> Iterator[str]:
    """What is odd and does no harm, for it is seen to."""
    if surroundings.is_long():
        yield "TMPDIR is too long for Ray's sockets, which get a folder of /tmp"
    set_ones = [name for name in PROXIES if os.environ.get(name) or os.environ.get(name.upper())]
    if set_ones:
        yield f"{', '.join(set_ones)} set, and passed by for services of this machine"
