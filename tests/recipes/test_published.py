"""Which published weights first jobs start from: a file of the project, those fetched before, a server that answers."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import pretrained_weights
from pipeline.recipes.parts import published


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch"


@pytest.fixture
def server() -> Iterator[str]:
    """A port of the loopback that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_nothing_at_hand_and_nobody_asked(tmp_path: Path, cache: Path) -> None:
    assert published.choose(tmp_path) is None


def test_weights_that_were_fetched_before(tmp_path: Path, cache: Path) -> None:
    fetched = pretrained_weights.path("ResNet18_Weights.IMAGENET1K_V1")
    fetched.parent.mkdir(parents=True)
    fetched.touch()
    chosen = published.choose(tmp_path)
    assert chosen is not None
    assert (chosen.architecture, chosen.options) == ("torchvision", {"name": "resnet18"})
    assert chosen.pretrained == {"weights": "ResNet18_Weights.IMAGENET1K_V1"}


def test_a_file_of_the_project_comes_before_them(tmp_path: Path, cache: Path) -> None:
    test_weights_that_were_fetched_before(tmp_path, cache)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/tf_efficientnet_lite0.safetensors").touch()
    chosen = published.choose(tmp_path)
    assert chosen is not None
    assert (chosen.architecture, chosen.size) == ("timm", 224)
    assert chosen.pretrained == {"file": "weights/tf_efficientnet_lite0.safetensors"}


def test_a_server_is_asked_last_and_only_where_it_may(
    tmp_path: Path, cache: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server)
    assert published.choose(tmp_path) is None  # HF_HUB_OFFLINE is set
    monkeypatch.delenv("HF_HUB_OFFLINE")
    chosen = published.choose(tmp_path)
    assert chosen is not None
    assert chosen.pretrained == {"weights": "timm/tf_efficientnet_lite0.in1k"}
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert published.choose(tmp_path) is None
