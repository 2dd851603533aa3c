"""Published weights: torchvision's by its names, such as `ResNet18_Weights.IMAGENET1K_V1`, timm's, and extractors.

pretrained_weights.json is the table of torchvision's names and addresses, so that checking a name imports no torch;
`python -m pipeline.pretrained_weights` writes it anew after an update of torchvision. A file's name ends with the first
digits of its sha256, which decide a result, and every file is compared with them. Files are stored where torch.hub
stores them, so earlier downloads are used, and files that are put there by hand. Names `timm/…` are those of
pipeline/timm_weights.py; their files lie in the same folder.
"""

import difflib
import functools
import json
import os
import re
from pathlib import Path

from pipeline import project, timm_weights
from pipeline.errors import UserError
from pipeline.store import content_digest, file_digest, write_json

TABLE = Path(__file__).with_suffix(".json")
#: names of extractors that are no job's: the network whose FIDs are published
EXTRACTORS = {
    "inception": "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth"
}
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@functools.cache
def read_table() -> dict[str, str]:
    """The table: every name and the address of its file; DEFAULT is another name for one of them."""
    urls: dict[str, str] = json.loads(TABLE.read_text(encoding="utf-8"))
    return urls


def is_timm(name: str) -> bool:
    """Whether a name is one of timm's."""
    return name.startswith(timm_weights.PREFIX)


def url(name: str) -> str:
    """The address of the weights; UserError with similar names if there are none."""
    if name in EXTRACTORS:
        return EXTRACTORS[name]
    if is_timm(name):
        return timm_weights.url(name)
    if name not in read_table():
        same_network = [other for other in read_table() if other.startswith(f"{name.split('.')[0]}.")]
        near = same_network or difflib.get_close_matches(name, read_table(), n=5, cutoff=0.5)
        raise UserError(f"torchvision publishes no weights named {name!r}. Similar names: {', '.join(near) or 'none'}.")
    return read_table()[name]


def digest(name: str, root: Path = project.ROOT) -> str:
    """The first digits of the file's sha256; of timm's weights as the project `root` records it."""
    if is_timm(name):
        return timm_weights.digest(name, path(name), root)
    match = re.search(r"[-_]([0-9a-f]{8,})\.pth$", url(name))
    if match is None:
        raise UserError(f"{url(name)}: the file name has no digest. Download the file and use `pretrained.file`.")
    return match[1]


def path(name: str) -> Path:
    """The file's path in torch.hub's folder, whether or not it exists."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"
    home = Path(os.environ.get("TORCH_HOME", cache)).expanduser()
    file = f"{name.replace('/', '-')}.safetensors" if is_timm(name) else url(name).rsplit("/", 1)[1]
    return home / "hub/checkpoints" / file


def extractor(root: Path, name: str) -> tuple[Path, str]:
    """The path of an extractor, a job's folder or a published file, and its digest."""
    if name in EXTRACTORS:
        return fetch(name), digest(name)
    return root / "models" / name, content_digest(root / "models" / name)


def fetch(name: str, root: Path = project.ROOT) -> Path:
    """The verified file, downloaded if it is missing; UserError with the remedy if that fails."""
    if is_timm(name):
        return timm_weights.fetch(name, path(name), root)
    target, field = path(name), "extractor" if name in EXTRACTORS else "pretrained.weights"
    if not target.exists():
        import torch

        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url(name), str(target), digest(name), progress=False)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"{field}: {name} can't be downloaded ({error}). "
                f"Fetch {url(name)} where there is a connection, and put the file at {target}."
            ) from error
    if not file_digest(target).startswith(digest(name)):
        raise UserError(
            f"{field}: {target} is not the file at {url(name)}, by its sha256. Delete it, or put the right one there."
        )
    return target


def normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of RGB in 0..1 of the weights' training; a detector's are part of its network."""
    import torch
    from torchvision.models import get_model, get_weight

    if is_timm(name):
        return timm_weights.normalization(name.removeprefix(timm_weights.PREFIX))
    preset = get_weight(name).transforms()
    if hasattr(preset, "mean"):
        return tuple(preset.mean), tuple(preset.std)
    with torch.device("meta"):
        network = get_model(name.split("_Weights.")[0].lower(), weights=None, weights_backbone=None)
    return tuple(network.transform.image_mean), tuple(network.transform.image_std)


def published() -> dict[str, str]:
    """The table from the installed torchvision: all networks for single images that are trained in float."""
    from torchvision import models

    modules = (models, models.detection, models.segmentation)
    names = [name for module in modules for name in models.list_models(module)]
    urls: dict[str, str] = {}
    for weights in {models.get_model_weights(name) for name in names}:
        urls |= {f"{weights.__name__}.{member}": item.url for member, item in weights.__members__.items()}
    return dict(sorted(urls.items()))


if __name__ == "__main__":
    write_json(TABLE, published())
