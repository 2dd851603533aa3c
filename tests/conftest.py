"""Fixtures that several folders share; one thread for all arithmetic, here and in every process that a test starts."""

import os

# Before anything imports torch: sums of several threads differ in their last bits, from each other and from one's.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
# No test asks a server for weights, and none uses those that this machine happens to have.
os.environ.update(HF_HUB_OFFLINE="1", TORCH_HOME="/nonexistent", HF_HOME="/nonexistent")

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import logs, processes
from pipeline.params import Params
from tests.helpers import few_digits, support

# Tests run on all cores already: only those of the processes themselves start more.
processes.ALONE_S = float("inf")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of data sets that the repository does not hold, unless CONVLINE_SETS names their folder."""
    if "CONVLINE_SETS" not in os.environ:
        large = [item for item in items if item.get_closest_marker("large")]
        items[:] = [item for item in items if item not in large]
        config.hook.pytest_deselected(items=large)


@pytest.fixture(autouse=True)
def _console(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print the project's messages, as each command does that begins."""
    monkeypatch.delenv(logs.QUIET, raising=False)
    logs.configure()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in this process instead of on Ray."""

    from pipeline.train import ray_train

    monkeypatch.setattr(ray_train, "run", support.train_here)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with half of the digits prepared and one policy staged; read-only: link to it, don't write."""
    root = tmp_path_factory.mktemp("digits")
    with few_digits.only(900):
        support.prepared(root, support.write_params(root, {"a": {"augmentation": "light"}}))
    return root


@pytest.fixture
def project(digits: Path, tmp_path: Path) -> Callable[..., tuple[Path, Params]]:
    """`project({"job": {...}})` gives a fresh root with prepared digits, and its params."""

    def make(jobs: dict[str, dict[str, object]], **sections: object) -> tuple[Path, Params]:
        (tmp_path / "data").symlink_to(digits / "data")
        return tmp_path, support.write_params(tmp_path, jobs, **sections)

    return make
