"""Signatures of registered models: only the code of models that a key of this project has signed is run.

A registered model is code, and anyone who can write to MLflow can make any model the champion. So a version carries a
signature: the digest of all its files, and an HMAC-SHA256 of that digest, its fingerprint and its model's name. The key
lies beside MLflow's database, because the two are lost together; a team shares one key by CONVLINE_KEY.

Files are signed right after this project has written them, before they go to MLflow. To run a model, its files are
copied to a private folder, the copy is compared with the signature, and the copy is run.

Versions that are older than the key are signed once, when the key is made: those whose files lie in this project's
artifacts and hold the weights that it has for their fingerprint. A marker file says that this is done, so that a
version which somebody adds later is not mistaken for an old one. All others need `convline trust`.
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
#: what MLflow and Python add to a model's folder when they load it; no part of the model
ADDED = ("__pycache__", "registered_model_meta")


class UntrustedError(UserError):
    """A model's code is not run, because no key of this project has signed its files."""


def keys(root: Path, *, make: bool = True) -> list[bytes]:
    """The keys whose signatures are valid: CONVLINE_KEY, then the project's own. The first of them signs.

    If there is neither, the project's own key is made, unless `make` is false.
    """
    shared = os.environ.get(VARIABLE, "").strip()
    if shared and len(shared) < SHORTEST:
        raise UserError(
            f"{VARIABLE}: the key must have at least {SHORTEST} characters. Use the content of {FOLDER}/{KEY}."
        )
    path = root / FOLDER / KEY
    valid_keys = [shared.encode()] if shared else []
    if path.exists():
        valid_keys.append(_read(path))
    elif make and not valid_keys:
        valid_keys.append(_make(path))
    return valid_keys


def _read(key_file: Path) -> bytes:
    for path, others, change in ((key_file.parent, 0o002, "o-w"), (key_file, 0o077, "go=")):
        if path.stat().st_mode & others:
            raise UserError(f"{path}: other accounts can read or replace the signing key. Run `chmod {change} {path}`.")
    try:
        key = key_file.read_bytes().strip()
    except PermissionError as error:
        raise UserError(
            f"{key_file}: the key belongs to another account and can't be read. Ask for it, and set {VARIABLE}."
        ) from error
    if len(key) < SHORTEST:
        raise UserError(f"{key_file}: damaged, holds no key. Delete it, and sign models again with `convline trust`.")
    return key


def _make(path: Path) -> bytes:
    """Write a new key to a file, atomically and with mode 600 from the start."""
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
    """One digest of a model's folder, its files and their names, after removing what loading has added."""
    for name in ADDED:
        for path in list(folder.rglob(name)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return store.digest({path.relative_to(folder).as_posix(): store.file_digest(path) for path in files})


def sign(key: bytes, model: str, fingerprint: str, files: str) -> str:
    """The signature of a version of `model`, from the digest of its files."""
    what = store.canonical({"model": model, "fingerprint": fingerprint, "files": files})
    return f"{files}:{hmac.new(key, what, 'sha256').hexdigest()}"


def signed(keys: list[bytes], version: Any) -> str | None:
    """The digest of a version's files that one of the keys has signed; None if none has. Reads no file."""
    signature = version.tags.get(SIGNATURE, "")
    files, _, _ = signature.partition(":")
    fingerprint = version.tags.get(FINGERPRINT, "")
    valid = (sign(key, version.name, fingerprint, files) for key in keys)
    return files if any(hmac.compare_digest(signature.encode(), one.encode()) for one in valid) else None


def verified(client: Any, keys: list[bytes], version: Any, folder: Path) -> Path:
    """A private copy of a version's files, below `folder`, after comparing it with the signature.

    Raises:
        UntrustedError: none of the keys has signed the version, or its files have changed since.
    """
    files = signed(keys, version)
    if files is None:
        raise UntrustedError(refused(version, "is not signed with a key of this project"))
    copy = _copied(client, version, folder)
    if digest(copy) != files:
        raise UntrustedError(refused(version, "has files that differ from the signed ones"))
    return copy


def refused(version: Any, why: str) -> str:
    """The message about a version whose code is not run."""
    return (
        f"version {version.version} {why}, so its code is not run, and it is not replaced; "
        f"`convline trust {version.name} {version.version}` signs it, if you know its origin"
    )


def trust(client: Any, root: Path, model: str, number: str) -> None:
    """Sign a version as it is, whoever made it; UserError if there is no such version."""
    from mlflow.exceptions import MlflowException

    try:
        version = client.get_model_version(model, number)
    except MlflowException as error:
        names = ", ".join(sorted(registered.name for registered in client.search_registered_models())) or "none"
        raise UserError(f"{model} {number}: no such version. Registered models are: {names}.") from error
    with store.locked(root / ".work/register.lock", "register", wait=True), tempfile.TemporaryDirectory() as folder:
        _sign(client, keys(root)[0], version, digest(_copied(client, version, Path(folder))))


def unsigned(root: Path, champions: dict[str, Any]) -> list[str]:
    """The models whose champion none of the project's keys has signed; empty before the first run with a key."""
    if not (root / FOLDER / MARKER).exists():
        return []
    project_keys = keys(root, make=False)
    return [model for model, version in champions.items() if signed(project_keys, version) is None]


def begin(client: Any, root: Path, keys: list[bytes]) -> None:
    """Sign the versions that are older than the key, once; those unlike the project's models stay unsigned."""
    marker = root / FOLDER / MARKER
    if marker.exists():
        return
    for version in client.search_model_versions(max_results=10_000):
        if SIGNATURE not in version.tags and (folder := _own(client, root, version)) is not None:
            _sign(client, keys[0], version, digest(folder))
    store.write_bytes(marker, b"Versions that were made before models were signed are signed. Keep this file.\n")


def _sign(client: Any, key: bytes, version: Any, files: str) -> None:
    signature = sign(key, version.name, version.tags.get(FINGERPRINT, ""), files)
    client.set_model_version_tag(version.name, version.version, SIGNATURE, signature)


def _own(client: Any, root: Path, version: Any) -> Path | None:
    """The folder of an old version, if it is in this project's artifacts and has the same weights as its model."""
    folder = local(root, client.get_model_version_download_uri(version.name, version.version))
    fingerprint = version.tags.get(FINGERPRINT, "")
    if folder is None or not fingerprint or Path(fingerprint).name != fingerprint:
        return None
    logged = [path.parent for path in folder.glob(f"artifacts/*/{store.MANIFEST}")]
    logged = [path for path in logged if store.holds(path, fingerprint)]
    own = [path.parent for path in root.glob(f"models/*/{store.MANIFEST}")]
    own.append(root / ".work/jobs" / fingerprint / "model")
    own = [path for path in own if store.holds(path, fingerprint)]
    alike = logged and own and store.content_digest(logged[0]) == store.content_digest(own[0])
    return folder if alike else None


def local(root: Path, uri: str) -> Path | None:
    """The folder that an artifact URI of MLflow names, if it is below this project's own artifacts; else None."""
    address = urlsplit(uri)
    folder = Path(unquote(address.path)).resolve()
    inside = address.scheme in ("", "file") and folder.is_relative_to((root / FOLDER / "artifacts").resolve())
    return folder if inside and folder.is_dir() else None


def _copied(client: Any, version: Any, folder: Path) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uri = client.get_model_version_download_uri(version.name, version.version)
    try:
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(folder)))
    except (MlflowException, OSError) as error:
        raise UntrustedError(refused(version, f"can't be read at {uri}")) from error
