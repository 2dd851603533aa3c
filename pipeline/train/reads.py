"""Digests of all that the training of a job reads, compared on every rank.

On a cluster each node reads its own project folder. With an outdated copy training would succeed and give a wrong
model. So the job spec carries the digests of its inputs, and each rank compares them with its own.
"""

import functools
import socket
from pathlib import Path

from pipeline import store
from pipeline.fingerprint import inputs
from pipeline.train.job_state import JobSpec


def digests(job_spec: JobSpec) -> dict[str, str]:
    """Digests of the code with its libraries and of the data that training a job reads, by their names in messages."""
    folders = {name: store.content_digest(path) for name, path in _folders(job_spec).items()}
    return {"code": store.digest(inputs(job_spec.roots)), **folders}


def differences(job_spec: JobSpec) -> str | None:
    """A sentence on the inputs that differ in this process from those of the job spec; None if none does."""
    host = socket.gethostname()
    try:
        own = digests(job_spec)
        for name, path in _folders(job_spec).items():
            _verify(path, own[name])
        for role, path in job_spec.sources.items():
            own[role] = store.manifest(path)["fingerprint"] if path.is_dir() else store.file_digest(path)
    except (store.StoreError, OSError) as error:
        return f"on {host} its inputs are incomplete: {error}"
    # of a published file only the first digits of the digest are known
    differing = sorted(name for name, digest in job_spec.reads.items() if not own[name].startswith(digest))
    if not differing:
        return None
    return (
        f"on {host} {' and '.join(differing)} differ from those of the job: "
        "that node has another copy of the project. Share the folder, or update that copy."
    )


def _folders(job_spec: JobSpec) -> dict[str, Path]:
    """Data folders by the name that messages give them."""
    staged = {} if job_spec.augmented is None else {"staged copies": job_spec.augmented}
    return {"images": job_spec.prepared, **staged, **job_spec.derived}


@functools.cache
def _verify(path: Path, digest: str) -> None:
    """Compare a folder's bytes with its manifest, once per process and content."""
    store.verify(path)
