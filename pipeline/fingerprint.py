"""The fingerprint of a result: one digest of the settings, data, definitions and library versions that decide it.

Definitions are followed (pipeline/reachable.py) from the roots that the caller names (pipeline/roots.py).
"""

import functools
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline import plugins, project
from pipeline.definitions import Folders
from pipeline.reachable import reach
from pipeline.store import digest

ROOT = project.CODE
#: modules and definitions that decide no result, and why; none of them changes pixels, targets, losses or weights.
#: What a caller names as a root counts all the same.
OUTSIDE = {
    "pipeline.errors": "the class of errors that people read",
    "pipeline.store": "writes and reads files; their contents count by digest",
    "pipeline.plugins": "finds plug-ins by name; what it finds counts",
    "pipeline.params": "the types of settings; their values count",
    "pipeline.pretrained_weights": "downloads; a file counts by its digest, and the normalization as a root",
    "pipeline.learners.feature_extractor:load_inception": "the published extractor, a root of the jobs that name it",
    "pipeline.train.job_state": "progress",
    "pipeline.train.history": "writes the curves",
    "pipeline.train.record": "writes what decided a model",
    "pipeline.train.loop:Trainer._progress": "progress",
    "pipeline.train.loop:Trainer._snapshot": "writes the picture of an epoch",
    "pipeline.learners.adversarial:Sampler.snapshot": "draws the picture of an epoch, by random numbers of its own",
    "pipeline.train.loader:_start_worker": "sets the number of threads",
}
#: libraries that count where code that counts refers to them: module → distribution
LIBRARIES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
    "albumentations": "albumentations",
    "cv2": "opencv-python-headless",
}


def inputs(roots: Iterable[str], **parts: Any) -> dict[str, Any]:
    """All that decides a result; its digest is the fingerprint.

    Args:
        roots: definitions as `module:name`, and plug-ins as `module`.
        parts: settings and digests of data, as JSON values.

    Returns:
        `code`: definition → digest, `libraries`: name → version, and the parts.
    """
    reachable = reach(folders(), tuple(sorted(set(roots))), frozenset(OUTSIDE))
    libraries = {name: minor_version(name) for name in reachable.libraries if name in LIBRARIES}
    return {"code": dict(reachable.code), "libraries": libraries, **parts}


def compute_fingerprint(roots: Iterable[str], **parts: Any) -> str:
    """sha256 over `inputs`."""
    return digest(inputs(roots, **parts))


def folders() -> Folders:
    """Where our code and the user's own plug-ins are read."""
    return (("pipeline", ROOT), ("plugins", plugins.OWN.parent))


@functools.cache
def minor_version(library: str) -> str:
    """`2.15` of version 2.15.0; a patch release changes no result."""
    try:
        return ".".join(version(LIBRARIES[library]).split(".")[:2])
    except PackageNotFoundError:
        return "none"
