"""Whose code may run: a model's files are signed with a key of the project, and the code of no others is run.

A registered model is code, and whoever may write to MLflow can call any model a champion. So a version carries a
signature: the digest of all its files, and a keyed digest (HMAC-SHA256) of that, its fingerprint and its model's name.
The key lies beside MLflow's database, because the two are lost together; a team hands one round as CONVLINE_KEY.

A signature is made of files that this project has just written, before they go to MLflow. To run a model, its files
are copied to a private folder, the copy is compared with the signature, and the copy is what runs.

Versions that are older than the key are signed once, when it is made: those whose files lie where this project puts
them and hold the very weights that it has under their fingerprint. A marker says that this is done, so that a version
which somebody adds later is not taken for an old one. All others wait for `convline trust`.
"""

import hmac
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline import store
from pipeline.errors import UserError
from pipeline.tracking import FINGERPRINT, FOLDER

SIGNATURE = "convline.signature"
KEY, MARKER = "convline.key", "convline.signed"
VARIABLE, SHORTEST = "CONVLINE_KEY", 32
#: what MLflow and Python add to a model's folder when they load it there; it is no part of the model
ADDED = ("__pycache__", "registered_model_meta")


class UntrustedError(UserError):
    """A model's code may not run: nobody with a key of this project has signed its files."""


def keys(root: Path, *, make: bool = True) -> list[bytes]:
    """The keys whose signatures count: CONVLINE_KEY's, then the project's own. The first of them signs.

    Where there is neither, the project's own is made, or there is none without `make`.
    """
    shared = os.environ.get(VARIABLE, "").strip()
    if shared and len(shared) < SHORTEST:
        raise UserError(f"{VARIABLE}: a key has at least {SHORTEST} characters. Take those of {FOLDER}/{KEY}.")
    path = root / FOLDER / KEY
    found = [shared.encode()] if shared else []
    if path.exists():
        found.append(_read(path))
    elif make and not found:
        found.append(_make(path))
    return found


def _read(path: Path) -> bytes:
    for place, others, change in ((path.parent, 0o002, "o-w"), (path, 0o077, "go=")):
        if place.stat().st_mode & others:
            raise UserError(f"{place}: others may get at the key that signs models. Run `chmod {change} {place}`.")
    try:
        key = path.read_bytes().strip()
    except PermissionError as error:
        raise UserError(
            f"{path}: this key of another account can't be read. Ask for it, and set {VARIABLE}."
        ) from error
    if len(key) < SHORTEST:
        raise UserError(f"{path}: damaged, it holds no key. Delete it, and trust models again by `convline trust`.")
    return key


def _make(path: Path) -> bytes:
    """A new key in a file that at no moment has another mode than 600, or holds a part of a key."""
    key = secrets.token_hex(32).encode()
    path.parent.mkdir(exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{KEY}.")
    with os.fdopen(descriptor, "wb") as file:
        file.write(key + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return _read(path)


def digest(folder: Path) -> str:
    """One digest of a model's folder, its files and their names, after what was added by loading is removed."""
    for name in ADDED:
        for path in list(folder.rglob(name)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return store.digest({path.relative_to(folder).as_posix(): store.file_digest(path) for path in files})


def sign(key: bytes, model: str, fingerprint: str, files: str) -> str:
    """The signature of a version of `model`, from the digest of its files."""
    what = store.canonical({"model": model, "fingerprint": fingerprint, "files": files})
    return f"{files}:{hmac.new(key, what, 'sha256').hexdigest()}"


def signed(known: list[bytes], version: Any) -> str | None:
    """The digest of a version's files, as a known key has signed it; None where none has. No file is looked at."""
    signature = version.tags.get(SIGNATURE, "")
    files, _, _ = signature.partition(":")
    fingerprint = version.tags.get(FINGERPRINT, "")
    valid = (sign(key, version.name, fingerprint, files) for key in known)
    return files if any(hmac.compare_digest(signature.encode(), one.encode()) for one in valid) else None


def verified(client: Any, known: list[bytes], version: Any, folder: Path) -> Path:
    """A private copy of a version's files, below `folder`, that are as a known key has signed them.

    Raises:
        UntrustedError: nobody with such a key has signed the version, or its files are others by now.
    """
    files = signed(known, version)
    if files is None:
        raise UntrustedError(refused(version, "is not signed with a key of this project"))
    copy = _copied(client, version, folder)
    if digest(copy) != files:
        raise UntrustedError(refused(version, "has other files than were signed"))
    return copy


def refused(version: Any, why: str) -> str:
    """The one sentence about a version whose code is not run."""
    return (
        f"version {version.version} {why}, so its code is not run, and it is not replaced; "
        f"`convline trust {version.name} {version.version}` signs it, if you know where it is from"
    )


def trust(client: Any, root: Path, model: str, number: str) -> None:
    """Sign a version as it is, whoever made it; UserError where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_model_version(model, number)
    except MlflowException as error:
        known = ", ".join(sorted(found.name for found in client.search_registered_models())) or "none"
        raise UserError(f"{model} {number}: there is no such version. Registered models are: {known}.") from error
    with store.locked(root / ".work/register.lock", "register", wait=True), tempfile.TemporaryDirectory() as folder:
        _sign(client, keys(root)[0], version, digest(_copied(client, version, Path(folder))))


def unsigned(root: Path, champions: dict[str, Any]) -> list[str]:
    """The models whose champion no known key has signed; none where old versions have yet to be signed by a run."""
    if not (root / FOLDER / MARKER).exists():
        return []
    known = keys(root, make=False)
    return [model for model, version in champions.items() if signed(known, version) is None]


def begin(client: Any, root: Path, known: list[bytes]) -> None:
    """Sign the versions that were made before there was a key, once; those unlike our own models stay unsigned."""
    marker = root / FOLDER / MARKER
    if marker.exists():
        return
    for version in client.search_model_versions(max_results=10_000):
        if SIGNATURE not in version.tags and (place := _own(client, root, version)) is not None:
            _sign(client, known[0], version, digest(place))
    store.write_bytes(marker, b"Versions that were made before models were signed are signed. Keep this file.\n")


def _sign(client: Any, key: bytes, version: Any, files: str) -> None:
    signature = sign(key, version.name, version.tags.get(FINGERPRINT, ""), files)
    client.set_model_version_tag(version.name, version.version, SIGNATURE, signature)


def _own(client: Any, root: Path, version: Any) -> Path | None:
    """Where an old version's files lie, if this project put them there and has the same weights; else None."""
    place = local(root, client.get_model_version_download_uri(version.name, version.version))
    mark = version.tags.get(FINGERPRINT, "")
    if place is None or not mark or Path(mark).name != mark:
        return None
    logged = [path.parent for path in place.glob(f"artifacts/*/{store.MANIFEST}") if store.holds(path.parent, mark)]
    places = [path.parent for path in root.glob(f"models/*/{store.MANIFEST}")] + [root / ".work/jobs" / mark / "model"]
    own = [path for path in places if store.holds(path, mark)]
    alike = logged and own and store.content_digest(logged[0]) == store.content_digest(own[0])
    return place if alike else None


def local(root: Path, place: str) -> Path | None:
    """The folder that an address of MLflow's names, if it lies below this project's own artifacts; else None."""
    address = urlsplit(place)
    folder = Path(unquote(address.path)).resolve()
    inside = address.scheme in ("", "file") and folder.is_relative_to((root / FOLDER / "artifacts").resolve())
    return folder if inside and folder.is_dir() else None


def _copied(client: Any, version: Any, folder: Path) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    place = client.get_model_version_download_uri(version.name, version.version)
    try:
        return Path(download_artifacts(artifact_uri=place, dst_path=str(folder)))
    except (MlflowException, OSError) as error:
        raise UntrustedError(refused(version, f"can't be read at {place}")) from error
