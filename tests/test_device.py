"""One device for all: the fastest that there is, or the one that CONVLINE_DEVICE names."""

from pathlib import Path

import pytest
import torch

from pipeline import device
from pipeline.errors import UserError
from pipeline.params import Train
from pipeline.train import ray_train
from pipeline.train.follow import Follower


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(device.VARIABLE, raising=False)


def machine(monkeypatch: pytest.MonkeyPatch, *, cuda: bool = False, mps: bool = False) -> None:
    """A machine with these devices, as torch sees it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_the_fastest_is_chosen(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str) -> None:
    machine(monkeypatch, cuda=cuda, mps=mps)
    assert device.choose() == expected


def test_gpus_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of Ray that got no GPU sees those of the machine."""
    machine(monkeypatch, cuda=True)
    assert device.choose(cuda=False) == "cpu"


@pytest.mark.parametrize(("asked", "expected"), [("cpu", "cpu"), ("MPS", "mps"), ("cuda", "cuda"), ("", "cuda")])
def test_the_variable_overrides(monkeypatch: pytest.MonkeyPatch, asked: str, expected: str) -> None:
    machine(monkeypatch, cuda=True, mps=True)
    monkeypatch.setenv(device.VARIABLE, asked)
    assert device.choose() == expected


@pytest.mark.parametrize("asked", ["gpu", "cuda:1", "0"])
def test_another_value_is_refused_with_the_choices(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setenv(device.VARIABLE, asked)
    with pytest.raises(UserError) as error:
        device.wanted()
    assert all(word in str(error.value) for word in (f"{device.VARIABLE}={asked}", *device.CHOICES))


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch)
    monkeypatch.setenv(device.VARIABLE, "cuda")
    with pytest.raises(UserError, match=rf"{device.VARIABLE}=cuda.* cpu, or unset it"):
        device.choose()


@pytest.mark.parametrize(
    ("asked", "mps", "gpus", "expected"),
    [
        ("", False, 4, (16, 4)),
        ("cuda", False, 4, (16, 4)),
        ("cpu", False, 4, (16, 0)),
        ("", False, 0, (16, 0)),
        ("", True, 0, (1, 0)),
        ("cpu", True, 0, (16, 0)),
    ],
)
def test_training_takes_the_same_choice(
    monkeypatch: pytest.MonkeyPatch, asked: str, mps: bool, gpus: int, expected: tuple[int, int]
) -> None:
    machine(monkeypatch, cuda=gpus > 0, mps=mps)
    monkeypatch.setenv(device.VARIABLE, asked)
    assert ray_train.processors(16, gpus) == expected


def test_training_says_what_ray_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(device.VARIABLE, "cuda")
    with pytest.raises(UserError, match=rf"{device.VARIABLE}=cuda: Ray has no GPU"):
        ray_train.processors(16, 0)


def test_a_wrong_value_is_refused_before_ray_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import ray

    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray was started"))
    monkeypatch.setenv(device.VARIABLE, "tpu")
    with pytest.raises(UserError, match=device.VARIABLE):
        ray_train.run([], Train(), tmp_path, {}, Follower([], None))
