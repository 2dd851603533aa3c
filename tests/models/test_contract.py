"""Every architecture keeps the contract; a new file in pipeline/models/ is tested without an edit here."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline import plugins
from pipeline.count.stage import published
from pipeline.models._features import features, stage_shapes
from pipeline.models._spec import Spec, build

NAMES = plugins.names("models")
CASES = [(name, task) for name in NAMES for task in plugins.constant("models", name, "TASKS")]
CLASSES = 4
#: larger networks are tested on the meta device only
LARGEST = 5_000_000


def paper(name: str) -> dict[str, Any]:
    value = plugins.constant("models", name, "PAPER")
    assert set(value) == {"input", "classes", "options", "parameters"}
    return dict(value)


def made(name: str, task: str) -> tuple[nn.Module, Tensor]:
    """A network of four classes and two images, at the paper's size: real if small, else on the meta device."""
    channels, size, _ = paper(name)["input"]
    device = "cpu" if paper(name)["parameters"] < LARGEST else "meta"
    torch.manual_seed(0)
    with torch.device(device):
        network = build(name, Spec(task, CLASSES, channels, size), paper(name)["options"])
        return network, torch.rand(2, channels, size, size)


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    return [tensor for item in inner for tensor in tensors(item)]


def ran(name: str, network: nn.Module, images: Tensor) -> list[Tensor]:
    """What comes out, the way the count stage runs it: a detector's file traces a fixed number of proposals."""
    trace = getattr(plugins.load("models", name), "trace", None)
    return tensors(trace(network, images) if trace else network(images))


@pytest.mark.parametrize("name", NAMES)
def test_published_parameters(name: str) -> None:
    assert published(name)["parameters"] == paper(name)["parameters"]


@pytest.mark.parametrize(("name", "task"), CASES)
def test_forward(name: str, task: str) -> None:
    network, images = made(name, task)
    with torch.no_grad():
        outputs = ran(name, network.eval(), images)
    assert outputs
    if task == "classification":
        assert [output.shape for output in outputs] == [(len(images), CLASSES)]
    assert all(output.is_meta or bool(output.isfinite().all()) for output in outputs)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_every_parameter_gets_a_gradient(name: str, task: str) -> None:
    network, images = made(name, task)
    sum(output.square().mean() for output in ran(name, network.train(), images)).backward()  # type: ignore[union-attr]
    for place, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, place
            assert parameter.is_meta or bool(parameter.grad.isfinite().all()), place


@pytest.mark.parametrize(("name", "task"), CASES)
def test_same_seed_same_network(name: str, task: str) -> None:
    first, second = made(name, task)[0].state_dict(), made(name, task)[0].state_dict()
    assert list(first) == list(second)
    assert all(first[key].is_meta or torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_saves_and_loads(name: str, task: str) -> None:
    network, images = made(name, task)
    if images.is_meta:
        pytest.skip(f"more than {LARGEST:,} parameters")
    torch.manual_seed(1)
    channels, size, _ = paper(name)["input"]
    other = build(name, Spec(task, CLASSES, channels, size), paper(name)["options"])
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        expected, found = ran(name, network.eval(), images), ran(name, other.eval(), images)
    assert all(torch.equal(one, two) for one, two in zip(expected, found, strict=True))


@pytest.mark.parametrize("name", [name for name in NAMES if plugins.constant("models", name, "STAGES")])
def test_stages_run_from_fine_to_coarse(name: str) -> None:
    network, images = made(name, plugins.constant("models", name, "TASKS")[0])
    stages = plugins.constant("models", name, "STAGES")
    network.get_submodule(plugins.constant("models", name, "HEAD"))
    assert [value.ndim for value in features(network.eval(), images, stages).values()] == [4] * len(stages)
    strides = [stride for _, stride in stage_shapes(network, stages, images.shape[1], images.shape[2]).values()]
    assert all(fine <= coarse for fine, coarse in pairwise(strides))
