"""Jobs that start from others: resolved in order, stale with them, and given their weights by name and shape."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pipeline import checkpoint, store
from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.train import loop, stage
from pipeline.train.ranks import Ranks
from tests.helpers import support

Project = Callable[..., tuple[Path, Params]]
AFTER: dict[str, dict[str, Any]] = {"a": {"seed": 1}, "b": {"pretrained": {"job": "a"}, "epochs": 0}}


def test_a_job_gets_the_weights_of_the_job_it_starts_from(project: Project, here: None) -> None:
    root, params = project(AFTER)
    stage.run(params, root)
    first, second = (load_file(root / f"models/{name}/weights.safetensors") for name in "ab")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_it_starts_from_is_part_of_its_fingerprint(project: Project) -> None:
    root, params = project(AFTER)
    before = support.job_specs(root, params)["b"].fingerprint
    changed = support.write_params(root, {**AFTER, "a": {"seed": 2}})
    assert support.job_specs(root, changed)["b"].fingerprint != before


def test_a_pulled_model_can_be_started_from(project: Project, here: None) -> None:
    root, params = project(AFTER)
    stage.run(params, root)
    shutil.rmtree(root / ".work")
    again = support.write_params(root, {**AFTER, "b": {**AFTER["b"], "lr": 0.01, "epochs": 1}})
    stage.run(again, root)
    assert store.holds(root / "models/b", support.job_specs(root, again)["b"].fingerprint)


def test_it_waits_until_the_model_is_there(project: Project) -> None:
    root, params = project(AFTER)
    orders = support.job_specs(root, params)
    assert orders["b"].waits_for() == [orders["a"].work]
    loop.train(orders["a"], Ranks())
    assert orders["b"].waits_for() == []


def test_the_order_in_the_file_does_not_matter(project: Project) -> None:
    root, params = project(dict(reversed(AFTER.items())))
    assert set(support.job_specs(root, params)) == {"a", "b"}


@pytest.mark.parametrize(
    ("jobs", "sections", "message"),
    [
        (
            {"a": {"pretrained": {"job": "b"}}, "b": {"pretrained": {"job": "a"}, "seed": 1}},
            {},
            "starts from itself through",
        ),
        (
            {"a": {"pretrained": {"file": "weights.safetensors"}}},
            {},
            r"jobs\.a\.pretrained\.file: there is no .*weights\.safetensors",
        ),
    ],
)
def test_what_can_not_be_started_from_is_named(
    project: Project, jobs: dict[str, dict[str, object]], sections: dict[str, object], message: str
) -> None:
    root, params = project(jobs, **sections)
    with pytest.raises(UserError, match=message):
        stage.job_specs(params, root)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"job": "nobody"}, "no job is named 'nobody'"),
        ({}, "give one of `job`, `file` and `weights`"),
        ({"job": "a"}, "can't start from itself"),
    ],
)
def test_params_say_what_is_wrong(project: Project, value: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        project({"a": {"pretrained": value}})


def test_a_part_is_loaded_into_a_larger_network(tmp_path: Path) -> None:
    body = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    save_file(body.state_dict(), tmp_path / "body.safetensors")
    larger = nn.ModuleDict({"backbone": nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 5)), "head": nn.Linear(5, 1)})
    left = checkpoint.start(larger, tmp_path / "body.safetensors")
    assert left == ["1.bias", "1.weight"]
    assert torch.equal(larger["backbone"][0].weight, body[0].weight)  # type: ignore[index,arg-type]


def test_weights_that_fit_nowhere_are_refused(tmp_path: Path) -> None:
    save_file({"other": torch.zeros(7)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="none of its 1 weights"):
        checkpoint.start(nn.Linear(2, 3), tmp_path / "w.safetensors")


def test_the_extractor_is_no_part_of_the_model(project: Project, here: None) -> None:
    root, params = project({"a": {"seed": 1}, "b": {"extractor": "a"}})
    stage.run(params, root)
    first, second = (load_file(root / f"models/{name}/weights.safetensors") for name in "ab")
    assert set(first) == set(second)
