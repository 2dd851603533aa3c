"""The secrets of the services that `make ui` starts: each in a file below `.work/` that only its owner can read.

Without them any account of this machine, and any web page, could run commands as the owner through Prefect or Ray.
Secrets go to processes in their environment, never in a command line, a log or `.work/services.json`.
"""

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

USER = "convline"
PREFECT, RAY = ".work/prefect.auth", ".work/ray.token"
MLFLOW, MLFLOW_USERS, MLFLOW_KEY = ".work/mlflow.ini", ".work/mlflow.users.db", ".work/mlflow.key"
OTHERS = 0o077


def prefect(root: Path) -> str:
    """The login of Prefect's server, as `user:password`; made at the first call."""
    return _keep(root / PREFECT, lambda: f"{USER}:{secrets.token_hex(32)}")


def kept_prefect(root: Path) -> str:
    """The login for Prefect's clients; empty if none was made."""
    path = root / PREFECT
    return path.read_text(encoding="utf-8") if path.exists() else ""


def ray(root: Path) -> Path:
    """The file with the token that Ray's head requires."""
    _keep(root / RAY, lambda: secrets.token_hex(32))
    return root.resolve() / RAY


def mlflow(root: Path) -> dict[str, str]:
    """The environment of MLflow's server: the file with its user and password, and the key of its forms."""
    users = root / MLFLOW_USERS

    def ini() -> str:
        users.unlink(missing_ok=True)  # MLflow reads the password only if it has no users yet
        lines = (
            "[mlflow]",
            "default_permission = NO_PERMISSIONS",
            f"database_uri = sqlite:///{MLFLOW_USERS}",  # below the server's folder, wherever the project moves
            f"admin_username = {USER}",
            f"admin_password = {secrets.token_hex(32)}",
            "auth_cache_ttl_seconds = 60",  # its pages ask often, and each check of a password is slow on purpose
        )
        return "\n".join(lines) + "\n"

    _keep(root / MLFLOW, ini)
    users.touch(mode=0o600)
    return {
        "MLFLOW_AUTH_CONFIG_PATH": str(root.resolve() / MLFLOW),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": _keep(root / MLFLOW_KEY, lambda: secrets.token_hex(32)),
        "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",
    }


def _keep(path: Path, make: Callable[[], str]) -> str:
    """The text of a file of mode 600; made anew if there is none, or if others could have read it."""
    if path.exists() and not path.stat().st_mode & OTHERS:
        return path.read_text(encoding="utf-8")
    path.parent.mkdir(exist_ok=True)
    text = make()
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # has that mode from the start
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
    return text
