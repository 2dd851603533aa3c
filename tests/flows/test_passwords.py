"""Secrets are made once, in files that only their owner ever could read, and never stand in a command."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import passwords, services
from flows._run import prefect_environment


@pytest.fixture(autouse=True)
def careless() -> Iterator[None]:
    """An account whose new files everybody may read and write."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_each_secret_is_kept_and_for_its_owner_alone(tmp_path: Path) -> None:
    made = (passwords.prefect(tmp_path), passwords.ray(tmp_path).read_text(), passwords.mlflow(tmp_path))
    assert (passwords.prefect(tmp_path), passwords.ray(tmp_path).read_text(), passwords.mlflow(tmp_path)) == made
    files = sorted((tmp_path / ".work").iterdir())
    assert [path.name for path in files] == [
        "mlflow.ini",
        "mlflow.key",
        "mlflow.users.db",
        "prefect.auth",
        "ray.token",
    ]
    assert {mode(path) for path in files} == {0o600}
    assert len({path.read_bytes() for path in files}) == len(files)


def test_a_secret_takes_its_name_only_when_nobody_else_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    replace = os.replace

    def look(source: str, target: Path) -> None:
        seen.append((mode(Path(source)), Path(source).read_text() != "", target.exists()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    passwords.prefect(tmp_path)
    assert seen == [(0o600, True, False)]


def test_what_others_could_read_is_no_secret_any_more(tmp_path: Path) -> None:
    first = passwords.prefect(tmp_path)
    path = tmp_path / passwords.PREFECT
    path.chmod(0o644)
    assert passwords.prefect(tmp_path) != first
    assert mode(path) == 0o600


def test_a_new_password_of_mlflow_counts(tmp_path: Path) -> None:
    passwords.mlflow(tmp_path)
    users = tmp_path / passwords.MLFLOW_USERS
    users.write_text("convline with the old password")
    passwords.mlflow(tmp_path)
    assert users.read_text()
    (tmp_path / passwords.MLFLOW).unlink()
    passwords.mlflow(tmp_path)
    assert users.read_text() == ""


def test_no_secret_stands_in_a_command_or_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_port", lambda name: services.PORTS[name])
    all_of_them = [make(tmp_path) for make in (services._prefect, services._mlflow, services._ray)]
    texts = [(tmp_path / name).read_text() for name in (passwords.PREFECT, passwords.MLFLOW_KEY, passwords.RAY)]
    hidden = [text.removeprefix("convline:") for text in texts]
    hidden += [line for line in (tmp_path / passwords.MLFLOW).read_text().splitlines() if "password" in line]
    for service in all_of_them:
        told = f"{service.command} {service.record}"
        assert not [text for text in hidden if text in told]
        if "folder" in service.record:
            Path(service.record["folder"]).rmdir()


def test_clients_know_the_secret_of_the_server_and_bring_no_key(tmp_path: Path) -> None:
    assert prefect_environment("http://here", tmp_path)["PREFECT_API_AUTH_STRING"] == ""
    secret = passwords.prefect(tmp_path)
    environment = prefect_environment("http://here", tmp_path)
    assert environment["PREFECT_API_AUTH_STRING"] == secret
    assert environment["PREFECT_API_KEY"] == ""
