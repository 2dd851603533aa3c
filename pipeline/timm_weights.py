"""timm's published weights by name, such as `timm/tf_efficientnet_lite0.in1k`, from the Hugging Face hub.

timm_weights.json is the list of names, so that checking one imports no timm; `python -m pipeline.timm_weights` writes
it anew after an update of timm. These names bear no digest. So the sha256 of a file at its first use is recorded in the
project's `weights.lock`, which is committed; it decides a result, and every file is compared with it.
"""

import difflib
import functools
import json
import logging
import os
from pathlib import Path

from pipeline.errors import UserError
from pipeline.store import file_digest, locked, read_json, write_bytes, write_json

log = logging.getLogger("pipeline.timm_weights")

#: what every name begins with; the whole name is the hub's, too
PREFIX = "timm/"
TABLE = Path(__file__).with_suffix(".json")
#: the file of a project that holds the sha256 of each file by name
LOCK = "weights.lock"
HUB, FILE = "https://huggingface.co", "model.safetensors"


@functools.cache
def read_table() -> tuple[str, ...]:
    """The names of all weights."""
    return tuple(json.loads(TABLE.read_text(encoding="utf-8")))


def url(name: str) -> str:
    """The address of the weights; UserError with similar names if there are none."""
    if name not in read_table():
        same_network = [other for other in read_table() if other.startswith(f"{name.split('.')[0]}.")]
        near = same_network or difflib.get_close_matches(name, read_table(), n=5, cutoff=0.5)
        raise UserError(f"timm publishes no weights named {name!r}. Similar names: {', '.join(near) or 'none'}.")
    return f"{os.environ.get('HF_ENDPOINT', HUB).rstrip('/')}/{name}/resolve/main/{FILE}"


def normalization(network: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of RGB in 0..1 of the training of a network's weights, by its tag or its default."""
    import timm

    trained = timm.get_pretrained_cfg(network)
    return tuple(trained.mean), tuple(trained.std)


def digest(name: str, target: Path, root: Path) -> str:
    """The sha256 that weights.lock has; the file is fetched to `target` and its digest recorded if it has none."""
    recorded: str | None = read_json(root / LOCK, {}).get(name)
    return recorded or file_digest(fetch(name, target, root))


def fetch(name: str, target: Path, root: Path) -> Path:
    """The verified file at `target`, downloaded if it is missing; UserError with the remedy if that fails."""
    if not target.exists():
        _download(name, target)
    if (actual := file_digest(target)) != (recorded := _record(name, target, actual, root)):
        raise UserError(
            f"pretrained.weights: {target} has the sha256 {actual[:12]}…, and {LOCK} records {recorded[:12]}… for "
            f"{name}. Delete the file to fetch it again; to accept it, remove the name's line from {root / LOCK}."
        )
    return target


def _download(name: str, target: Path) -> None:
    """Fetch a file through the hub's own cache, which may hold it already, and link or copy it to `target`."""
    from huggingface_hub import hf_hub_download

    address = url(name)
    try:
        cached = Path(hf_hub_download(name, FILE, endpoint=os.environ.get("HF_ENDPOINT")))
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"pretrained.weights: {name} can't be downloaded ({reason}). "
            f"Fetch {address} where there is a connection, and put the file at {target}."
        ) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(cached.resolve(), target)
    except OSError:  # of another file system
        write_bytes(target, cached.read_bytes())


def _record(name: str, target: Path, actual: str, root: Path) -> str:
    """The digest that weights.lock has of a name, after writing it there if it has none; UserError if it is damaged."""
    with locked(root / f".work/{LOCK}", f"recording in {LOCK}", wait=True):
        recorded: dict[str, str] = read_json(root / LOCK, {})
        if name not in recorded:
            _check_readable(target)
            recorded[name] = actual
            write_json(root / LOCK, recorded)
            log.info(f"{LOCK}: the sha256 of {name} is recorded; commit this file")
    return recorded[name]


def _check_readable(target: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(target, "pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"pretrained.weights: {target} is no whole safetensors file ({error}). "
            "Delete it, or put the right one there."
        ) from error


def published() -> list[str]:
    """The list from the installed timm: all weights that timm itself has on the hub, each under its own name."""
    import timm

    names = timm.list_models(pretrained=True)
    entries = {name: timm.get_pretrained_cfg(name) for name in names}
    return sorted(
        f"{PREFIX}{name}"
        for name, entry in entries.items()
        if entry.hf_hub_id == f"{PREFIX}{name}" and not entry.hf_hub_filename
    )


if __name__ == "__main__":
    write_json(TABLE, published())
