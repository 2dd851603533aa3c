"""What is wrong around a project is seen before any work, with its remedy; looking changes nothing."""

import socket
from pathlib import Path

import pytest

from pipeline import preflight
from pipeline.errors import UserError

NOTE = "outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  hash: md5\n  path: pets\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RAY_ADDRESS", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    for folder in (".git", ".dvc", "data/raw/pets"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "data/raw/pets.dvc").write_text(NOTE)
    return tmp_path


def test_a_sound_project(root: Path) -> None:
    preflight.check(root, preflight.BEFORE_REPRO)


def test_all_faults_are_one_error(root: Path) -> None:
    (root / ".git").rmdir()
    (root / "data/raw/pets").rmdir()
    with pytest.raises(UserError, match=r"Run `git init` there\.\ndata/raw/pets: is missing"):
        preflight.check(root, preflight.BEFORE_REPRO)


def test_no_git_is_no_fault_where_dvc_does_without(root: Path) -> None:
    (root / ".git").rmdir()
    assert [*preflight.git(root)]
    (root / ".dvc/config").write_text("[core]\n    no_scm = True\n")
    assert not [*preflight.git(root)]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("dvc.lock", "git checkout --ours dvc.lock"),
        ("params.yaml", "Choose the lines"),
        ("data/raw/pets.dvc", "Choose the lines"),
    ],
)
def test_a_file_that_is_half_merged(root: Path, name: str, remedy: str) -> None:
    (root / name).write_text("a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n")
    ((what, told),) = preflight.conflicts(root)
    assert what.startswith(f"{name}:2: ")
    assert "merge conflict" in what
    assert remedy in told


def test_a_section_that_dvc_looks_for(root: Path) -> None:
    (root / "dvc.yaml").write_text("stages:\n  a: {params: [jobs, studies]}\n  b: {params: [jobs, train]}\n")
    assert not [*preflight.sections(root)]
    (root / "params.yaml").write_text("jobs: {}\n")
    ((what, remedy),) = preflight.sections(root)
    assert what.startswith("params.yaml: ")
    assert what.endswith(" studies, train")
    assert "`studies: {}` and `train: {}`" in remedy


def test_raw_images_behind_a_link(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert not [*preflight.links(root)]
    (root / "data/raw").rename(tmp_path_factory.mktemp("other") / "raw")
    (root / "data/raw").symlink_to(tmp_path_factory.getbasetemp())
    ((what, remedy),) = preflight.links(root)
    assert what.startswith("data/raw: is a symbolic link")
    assert "dvc cache dir" in remedy


def test_images_that_were_not_brought(root: Path) -> None:
    assert not [*preflight.data(root)]
    (root / "data/raw/pets").rmdir()
    ((what, remedy),) = preflight.data(root)
    assert what.startswith("data/raw/pets: is missing")
    assert "pets.dvc" in what
    assert "`dvc pull data/raw/pets.dvc`" in remedy
    kept = root / ".dvc/cache/files/md5/01/23456789abcdef0123456789abcdef.dir"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert "`dvc checkout data/raw/pets.dvc`" in next(preflight.data(root))[1]


@pytest.fixture
def listening() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("form", ["{}", "ray://{}"])
def test_a_ray_that_is_gone(root: Path, listening: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of the fixture is closed by now."""
    monkeypatch.setenv("RAY_ADDRESS", form.format(listening))
    ((what, remedy),) = preflight.ray(root)
    assert what.startswith(f"RAY_ADDRESS={form.format(listening)}: nothing answers there (")
    assert "unset RAY_ADDRESS" in remedy


@pytest.mark.parametrize("address", ["nonsense", "host:port", ":6379", "no-such-host.invalid:6379"])
def test_an_address_that_is_none(root: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert len([*preflight.ray(root)]) == 1


def test_a_ray_that_answers_or_none(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:
        for address in (f"127.0.0.1:{server.getsockname()[1]}", "local", "auto", ""):
            monkeypatch.setenv("RAY_ADDRESS", address)
            assert not [*preflight.ray(root)]


def test_a_cluster_that_ray_noted_and_that_is_gone(
    root: Path, tmp_path: Path, listening: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray/ray_current_cluster").write_text(listening)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert len([*preflight.ray(root)]) == 1


def test_a_long_folder_gets_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Ray would put its sockets decides, so it is Ray that is asked."""
    from ray._common.utils import get_default_system_temp_dir

    socket_below = "ray/session_2026-11-26_05-31-14_123456_1234567/sockets/plasma_store"
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/".ljust(preflight.MAX_RAY_FOLDER, "x"))
    with preflight.short_temp_folder() as folder:
        assert folder is None
        assert len(str(Path(get_default_system_temp_dir(), socket_below))) <= 107
    monkeypatch.setenv("TMPDIR", "/".ljust(preflight.MAX_RAY_FOLDER + 1, "x"))
    with preflight.short_temp_folder() as folder:
        assert folder is not None
        assert len(folder) < preflight.MAX_RAY_FOLDER
        assert Path(folder).is_dir()
    assert not Path(folder).exists()
