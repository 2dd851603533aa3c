"""Every architecture keeps the contract; a new file, also in plugins/models/, is tested without an edit here."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline import plugins
from pipeline.count.layers import count, trainable
from pipeline.learners.base import Settings
from pipeline.models.parts.feature_maps import features, level_shapes
from pipeline.models.parts.spec import Spec, build_network
from tests.helpers import parameter_formulas

NAMES = plugins.names("models")
CASES = [(name, task) for name in NAMES for task in plugins.constant("models", name, "TASKS")]
CLASSIFIERS = [name for name, task in CASES if task == "classification"]
PUBLISHED = [name for name in NAMES if plugins.constant("models", name, "PAPER")]
CLASSES = 4
#: larger networks that have no SMALL are tested on the meta device only
LARGEST = 5_000_000


#: of an architecture that gives no settings of its own
PLAIN = {"input": [3, 32, 32], "options": {}, "parameters": 0}


def paper(name: str) -> dict[str, Any]:
    return dict(plugins.constant("models", name, "PAPER") or PLAIN)


def made(name: str, task: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A network of four classes and two images with SMALL, else with the paper's settings; on meta if it is large."""
    channels, size, _ = paper(name)["input"]
    small = plugins.constant("models", name, "SMALL")
    if small and "size" not in small:  # by task
        small = small.get(task)
    chosen = small or {"size": size, "options": paper(name)["options"]}
    spec = Spec(task, CLASSES, channels, chosen["size"], keypoints=3)
    torch.manual_seed(seed)
    with torch.device("meta" if small is None and is_large(name, spec) else "cpu"):
        network = build_network(name, spec, chosen["options"])
        return network, torch.rand(2, channels, chosen["size"], chosen["size"])


def is_large(name: str, spec: Spec) -> bool:
    """Whether the network with the settings of its paper, or its defaults, is too large for the tests."""
    if name in PUBLISHED:
        return bool(paper(name)["parameters"] >= LARGEST)
    with torch.random.fork_rng(devices=[]):
        return trainable(build_network(name, spec, {}).parameters()) >= LARGEST


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


def as_published(name: str) -> nn.Module:
    settings = paper(name)
    channels, size, _ = settings["input"]
    spec = Spec(plugins.constant("models", name, "TASKS")[0], settings["classes"], channels, size)
    with torch.device("meta"):
        return build_network(name, spec, settings["options"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameters(name: str) -> None:
    assert trainable(as_published(name).parameters()) == paper(name)["parameters"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_agree_with_formulas(name: str) -> None:
    """Layers without a formula are a user's own; that each shipped one has a formula is tested below."""
    layers = dict(as_published(name).named_modules())
    expected = {key: parameter_formulas.expected(layer) for key, layer in layers.items()}
    counted = {key: trainable(layer.parameters(recurse=False)) for key, layer in layers.items()}
    assert {key: value for key, value in expected.items() if value is not None} == {
        key: counted[key] for key, value in expected.items() if value is not None
    }
    assert name in plugins.own_names("models") or None not in expected.values()


def test_a_dropped_bias_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutBias(nn.Conv2d):
        def __init__(self, inputs: int, outputs: int, kernel: int, groups: int = 1) -> None:
            super().__init__(inputs, outputs, kernel, groups=groups, bias=False)

    monkeypatch.setattr(nn, "Conv2d", WithoutBias)
    assert trainable(as_published("lenet5").parameters()) == 59_858 != paper("lenet5")["parameters"]


@pytest.mark.parametrize(("name", "task"), CASES)
def test_it_is_counted(name: str, task: str) -> None:
    """Or its parameters are; the run goes on in any case (tests/count/test_stage.py)."""
    network, images = made(name, task)
    device = "meta" if images.is_meta else "cpu"
    trace = getattr(plugins.load("models", name), "trace", None)
    counted = count(network, images.shape[1], images.shape[2], trace, device)
    assert counted.parameters == trainable(network.parameters())
    assert counted.multiply_adds or not counted.parameters


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
