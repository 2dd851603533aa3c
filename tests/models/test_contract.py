"""Every architecture keeps the contract; a new file in pipeline/models/ is tested without an edit here."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline import plugins
from pipeline.count.stage import published
from pipeline.learners.base import Settings
from pipeline.models.parts.feature_maps import features, level_shapes
from pipeline.models.parts.spec import Spec, build_network

NAMES = plugins.names("models")
CASES = [(name, task) for name in NAMES for task in plugins.constant("models", name, "TASKS")]
CLASSIFIERS = [name for name, task in CASES if task == "classification"]
CLASSES = 4
#: larger networks that have no SMALL are tested on the meta device only
LARGEST = 5_000_000


def paper(name: str) -> dict[str, Any]:
    value = plugins.constant("models", name, "PAPER")
    assert set(value) == {"input", "classes", "options", "parameters"}
    return dict(value)


def made(name: str, task: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A network of four classes and two images with SMALL, else with the paper's settings; on meta if it is large."""
    channels, size, _ = paper(name)["input"]
    small = plugins.constant("models", name, "SMALL")
    if small and "size" not in small:  # by task
        small = small.get(task)
    large = small is None and paper(name)["parameters"] >= LARGEST
    chosen = small or {"size": size, "options": paper(name)["options"]}
    torch.manual_seed(seed)
    with torch.device("meta" if large else "cpu"):
        network = build_network(name, Spec(task, CLASSES, channels, chosen["size"], keypoints=3), chosen["options"])
        return network, torch.rand(2, channels, chosen["size"], chosen["size"])


def tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    return [tensor for item in inner for tensor in tensors(item)]


def ran(name: str, network: nn.Module, images: Tensor) -> list[Tensor]:
    """Outputs of one pass as the count stage runs it: a detector's `trace` has a fixed number of proposals.

    Random noise, if a network needs it, is the same each time.
    """
    torch.manual_seed(0)
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
    if not any(parameter.requires_grad for parameter in network.parameters()):
        pytest.skip("nothing in it learns by gradient")
    sum(output.square().mean() for output in ran(name, network.train(), images)).backward()  # type: ignore[union-attr]
    for key, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.is_meta or bool(parameter.grad.isfinite().all()), key


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
    other, _ = made(name, task, seed=1)
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        expected, outputs = ran(name, network.eval(), images), ran(name, other.eval(), images)
    assert all(torch.equal(one, two) for one, two in zip(expected, outputs, strict=True))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_fits_eight_images_of_noise(name: str) -> None:
    network, images = made(name, "classification")
    assert not images.is_meta, f"pipeline/models/{name}.py: give it SMALL = {{'size': …, 'options': …}}"
    channels, size = images.shape[1:3]
    settings = Settings(tuple("abcd"), (), (2,) * CLASSES, channels, size, (0.5,) * channels, (0.3,) * channels)
    learner = plugins.load("tasks", "classification").learner(network, settings).train()
    noise = torch.randint(0, 256, (8, channels, size, size), dtype=torch.uint8)
    labels = torch.arange(8) % CLASSES
    optimizer = torch.optim.AdamW(learner.parameters(), lr=0.003)
    losses: list[float] = []
    while len(losses) < 150 and (not losses or losses[-1] > 0.3 * losses[0]):
        loss = torch.stack(list(learner(noise, labels).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] <= 0.3 * losses[0]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_exports_with_any_batch(name: str) -> None:
    network, images = made(name, "classification")
    program = torch.export.export(network.eval(), (images,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    more = torch.cat([images, images.flip(3)])
    with torch.no_grad():
        torch.testing.assert_close(program.module()(more), network(more))


@pytest.mark.parametrize("name", [name for name in NAMES if plugins.constant("models", name, "LEVELS")])
def test_levels_run_from_fine_to_coarse(name: str) -> None:
    network, images = made(name, plugins.constant("models", name, "TASKS")[0])
    levels = plugins.constant("models", name, "LEVELS")
    network.get_submodule(plugins.constant("models", name, "HEAD"))
    assert [value.ndim for value in features(network.eval(), images, levels).values()] == [4] * len(levels)
    strides = [stride for _, stride in level_shapes(network, levels, images.shape[1], images.shape[2]).values()]
    assert all(fine <= coarse for fine, coarse in pairwise(strides))
