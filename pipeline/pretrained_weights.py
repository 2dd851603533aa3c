"""Weights that others publish: torchvision's by its names, as `ResNet18_Weights.IMAGENET1K_V1`, and extractors.

The address is read from torchvision's source, so that checking a name imports no torch. A file's name ends with the
first digits of its sha256; that is what decides a result, and every file is held against it. Files lie where
torch.hub keeps them, so weights that were fetched before are found, and one that is put there by hand is used.
"""

import ast
import difflib
import functools
import importlib.util
import os
import re
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import UserError
from pipeline.store import content_digest, file_digest

#: folders of torchvision/models with weights of networks for single images that are trained in float
FOLDERS = (".", "detection", "segmentation")
#: names of extractors that are no job's: the network whose FIDs are published
EXTRACTORS = {
    "inception": "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth"
}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@functools.cache
def _urls() -> dict[str, str]:
    """Every name and the address of its file; DEFAULT is another name for one of them."""
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    models = Path(spec.origin).parent / "models"
    files = [path for folder in FOLDERS for path in sorted((models / folder).glob("*.py"))]
    found: dict[str, str] = {}
    for path in files:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("_Weights"):
                found |= {f"{node.name}.{name}": url for name, url in _members(node)}
    return found


def _members(node: ast.ClassDef) -> Iterable[tuple[str, str]]:
    urls: dict[str, str] = {}
    for line in node.body:
        if not isinstance(line, ast.Assign) or not isinstance(line.targets[0], ast.Name):
            continue
        if isinstance(line.value, ast.Name):
            urls[line.targets[0].id] = urls[line.value.id]
        elif isinstance(line.value, ast.Call):
            given = {word.arg: word.value for word in line.value.keywords}
            urls[line.targets[0].id] = ast.literal_eval(given["url"])
    return urls.items()


def url(name: str) -> str:
    """Where the weights are to be had; UserError with the near names if nobody publishes them."""
    if name in EXTRACTORS:
        return EXTRACTORS[name]
    if name not in _urls():
        same_network = [known for known in _urls() if known.startswith(f"{name.split('.')[0]}.")]
        near = same_network or difflib.get_close_matches(name, _urls(), n=5, cutoff=0.5)
        raise UserError(f"torchvision publishes no weights named {name!r}. Near it are: {', '.join(near) or 'none'}.")
    return _urls()[name]


def digest(name: str) -> str:
    """The first digits of the file's sha256."""
    found = re.search(r"[-_]([0-9a-f]{8,})\.pth$", url(name))
    if found is None:
        raise UserError(f"{url(name)}: the name has no digest. Fetch the file yourself and use `file`.")
    return found[1]


def path(name: str) -> Path:
    """The file's place in torch.hub's folder, whether or not it is there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"
    home = Path(os.environ.get("TORCH_HOME", cache)).expanduser()
    return home / "hub/checkpoints" / url(name).rsplit("/", 1)[1]


def extractor(root: Path, name: str) -> tuple[Path, str]:
    """Where the model that measures a generator lies, a job's folder or a published file, and a digest of all of it."""
    if name in EXTRACTORS:
        return fetch(name), digest(name)
    return root / "models" / name, content_digest(root / "models" / name)


def fetch(name: str) -> Path:
    """The file, verified, after a download where it is missing; UserError saying how to get it where that fails."""
    target, place = path(name), "extractor" if name in EXTRACTORS else "pretrained.weights"
    if not target.exists():
        import torch

        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url(name), str(target), digest(name), progress=False)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"{place}: {name} can't be downloaded ({error}). "
                f"Fetch {url(name)} where there is a connection, and put the file at {target}."
            ) from error
    if not file_digest(target).startswith(digest(name)):
        raise UserError(
            f"{place}: {target} is not the file at {url(name)}, by its sha256. Delete it, or put the right one there."
        )
    return target


def normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of RGB in 0..1 that the weights were trained with; a detector's are within its network."""
    import torch
    from torchvision.models import get_model, get_weight

    known = get_weight(name).transforms()
    if hasattr(known, "mean"):
        return tuple(known.mean), tuple(known.std)
    with torch.device("meta"):
        network = get_model(name.split("_Weights.")[0].lower(), weights=None, weights_backbone=None)
    return tuple(network.transform.image_mean), tuple(network.transform.image_std)
