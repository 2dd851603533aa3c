"""What the training of a job reads, by digest, so that every process can tell whether it reads the same.

On a cluster each node reads its own project folder. Where that is an old or a foreign copy, training would end well
with a wrong model. So the order carries the digests of what it was made from, and each rank compares its own.
"""

import functools
import socket
from pathlib import Path

from pipeline import store
from pipeline.fingerprint import code
from pipeline.train.job_state import JobSpec


def digests(job_spec: JobSpec) -> dict[str, str]:
    """Digests of the code and the folders of data that training an order reads, by what a message calls them."""
    folders = {name: store.content_digest(path) for name, path in _folders(job_spec).items()}
    return {"code": store.digest(code(job_spec.modules)), **folders}


def differences(job_spec: JobSpec) -> str | None:
    """What this process would read other than the order's maker did, as a sentence; None if nothing."""
    host = socket.gethostname()
    try:
        found = digests(job_spec)
        for name, path in _folders(job_spec).items():
            _verify(path, found[name])
        for role, path in job_spec.sources.items():
            found[role] = store.manifest(path)["fingerprint"] if path.is_dir() else store.file_digest(path)
    except (store.StoreError, OSError) as error:
        return f"on {host} what it reads is not whole: {error}"
    # a published file is known by the first digits of its digest
    wrong = sorted(name for name, digest in job_spec.reads.items() if not found[name].startswith(digest))
    if not wrong:
        return None
    return (
        f"on {host} the {' and '.join(wrong)} that it reads differ from what the job was made from: "
        "that node has another copy of the project. Share the folder, or bring that copy up to date."
    )


def _folders(job_spec: JobSpec) -> dict[str, Path]:
    """Folders of data by what they are called in a message."""
    staged = {} if job_spec.augmented is None else {"staged copies": job_spec.augmented}
    return {"images": job_spec.prepared, **staged, **job_spec.derived}


@functools.cache
def _verify(path: Path, digest: str) -> None:
    """Hold a folder's bytes against its manifest, once a process for each content."""
    store.verify(path)
