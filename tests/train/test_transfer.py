"""Frozen modules keep every bit and others move; who rests when, and each layer's rate, as worked out by hand."""

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from pipeline import sample, store
from pipeline.errors import UserError
from pipeline.models.parts.spec import Spec, build_network
from pipeline.params import Job, Params
from pipeline.train import loop, optimizer, stage, transfer
from pipeline.train.job_state import JobSpec
from pipeline.train.ranks import Ranks
from tests.helpers import support, worlds

Project = Callable[..., tuple[Path, Params]]
SMALL = {
    "architecture": "resnet",
    "options": {"depth": 20, "width": 4},
    "size": 8,
    "epochs": 3,
    "batch": 250,
    "train_images": 500,
    "lr": 0.05,
    "weight_decay": 0.01,
    "ema": 0.9,
}
THAWED = {"freeze": ["conv1", "bn1"], "unfreeze": {"layer1": 2, "layer2": 1}}


def job(**settings: Any) -> Job:
    known = {"task": "classification", "architecture": "resnet", "dataset": "digits", "epochs": 9}
    return Job.model_validate({**known, **settings})


def job_spec(project: Project, **settings: Any) -> JobSpec:
    root, params = project({"a": {**SMALL, **settings}})
    return support.job_specs(root, params)["a"]


def states(trainer: loop.Trainer, epochs: int) -> list[dict[str, Tensor]]:
    """The weights and buffers before the first epoch and after each."""
    found = []
    for number in range(epochs + 1):
        if number:
            trainer.epoch()
        found.append({name: value.clone() for name, value in trainer.learner.network.state_dict().items()})
    return found


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """The outermost modules of which any bit changed."""
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_of_nested_names_the_innermost_decides() -> None:
    known = job(freeze=["body"], unfreeze={"body.layer4": 2, "neck": 1})
    rests = {name: [transfer.frozen(name, known, epoch) for epoch in (0, 1, 2, 8)] for name in ("body.conv", "neck.a")}
    assert rests == {"body.conv": [True] * 4, "neck.a": [True, False, False, False]}
    assert [transfer.frozen("body.layer4.0.weight", known, epoch) for epoch in (1, 2)] == [True, False]
    assert not transfer.frozen("body2.weight", known, 0)


def test_frozen_modules_keep_every_bit_until_they_learn(project: Project) -> None:
    found = states(loop.Trainer(job_spec(project, **THAWED), Ranks()), 3)
    always = {"layer3", "fc"}
    assert moved(found[0], found[1]) == always
    assert moved(found[1], found[2]) == always | {"layer2"}
    assert moved(found[2], found[3]) == always | {"layer1", "layer2"}


def test_control_without_the_settings_all_move(project: Project) -> None:
    found = states(loop.Trainer(job_spec(project), Ranks()), 1)
    assert moved(*found) == {"conv1", "bn1", "layer1", "layer2", "layer3", "fc"}


def test_control_in_training_mode_a_frozen_norm_would_move(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = loop.Trainer(job_spec(project, freeze=["conv1", "bn1"]), Ranks())
    monkeypatch.setattr(nn.BatchNorm2d, "eval", lambda module: module)
    assert "bn1" in moved(*states(trainer, 1))


def test_interrupted_it_ends_with_the_same_bytes(project: Project) -> None:
    whole = job_spec(project, **THAWED, layer_decay=0.5)
    loop.train(whole, Ranks())
    for epochs in (1, 2):
        stopped = dataclasses.replace(whole, work=whole.work.with_name(f"stopped{epochs}"))
        trainer = loop.Trainer(stopped, Ranks())
        for _ in range(epochs):
            trainer.epoch()
        loop.train(stopped, Ranks())
        assert store.content_digest(stopped.model) == store.content_digest(whole.model)


def _start(rank: int, meeting: str, item: JobSpec, folder: str) -> None:
    worlds.meet(rank, meeting)
    trainer = loop.Trainer(item, Ranks(rank, 2, (0, 1), dist.new_group([0, 1])))
    torch.save(states(trainer, 3), f"{folder}/states{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_learn_the_same_where_modules_thaw(project: Project, tmp_path: Path) -> None:
    """A thawed module's gradients are averaged: else the ranks, which see other images, would drift apart."""
    item = job_spec(project, **THAWED)
    worlds.start(_start, str(tmp_path / "meeting"), item, str(tmp_path))
    first, second = (torch.load(tmp_path / f"states{rank}.pt") for rank in range(2))
    for ours, theirs in zip(first, second, strict=True):
        assert all(torch.equal(ours[n], theirs[n]) for n in ours if not n.endswith(("mean", "var")))
    assert [sorted(moved(*pair)) for pair in pairwise(first)] == [
        ["fc", "layer3"],
        ["fc", "layer2", "layer3"],
        ["fc", "layer1", "layer2", "layer3"],
    ]


def rates(network: nn.Module, known: Job) -> dict[str, float]:
    """Each outermost module's learning rate, where it has one alone, as the optimiser holds it."""
    built = optimizer.build(network.parameters(), known, transfer.scales(network, known))
    optimizer.set_rate(built, known.lr)
    rate = {id(parameter): group["lr"] for group in built.param_groups for parameter in group["params"]}
    found: dict[str, set[float]] = {}
    for name, parameter in network.named_parameters():
        found.setdefault(name.split(".")[0], set()).add(round(rate[id(parameter)], 9))
    return {name: values.pop() for name, values in found.items() if len(values) == 1}


def test_rates_fall_by_the_stage_as_by_hand() -> None:
    spec = Spec("classification", 5, 3, 32)
    known = job(lr=0.1, layer_decay=0.5)
    with torch.device("meta"):
        found = rates(build_network("resnet", spec, {"depth": 18}), known)
        small = rates(build_network("resnet", spec, {"depth": 20}), known)  # of three stages; the fourth is empty
    stem = {"conv1": 0.00625, "bn1": 0.00625}
    assert found == stem | {"layer1": 0.00625, "layer2": 0.0125, "layer3": 0.025, "layer4": 0.05, "fc": 0.1}
    assert small == {"conv1": 0.0125, "bn1": 0.0125, "layer1": 0.0125, "layer2": 0.025, "layer3": 0.05, "fc": 0.1}
    with torch.device("meta"):
        assert set(rates(build_network("resnet", spec, {}), job(lr=0.1)).values()) == {0.1}


def test_what_lies_behind_a_backbone_has_the_full_rate() -> None:
    options = {"backbone": "resnet", "backbone_options": {"depth": 18}, "width": 8}
    with torch.device("meta"):
        network = build_network("cam", Spec("localization", 5, 3, 32), options)
    scales = transfer.scales(network, job(layer_decay=0.5))
    by_name = {name: scales[parameter] for name, parameter in network.named_parameters()}
    assert by_name["conv.weight"] == by_name["maps.weight"] == 1
    assert by_name["backbone.layer4.0.conv1.weight"] == 0.5
    assert by_name["backbone.conv1.weight"] == by_name["backbone.layer1.0.conv1.weight"] == 0.5**4


def test_the_first_rate_is_the_one_that_is_reported(project: Project) -> None:
    trainer = loop.Trainer(job_spec(project, layer_decay=0.5, schedule="constant"), Ranks())
    trainer.epoch()
    assert trainer.history[0]["train/lr"] == SMALL["lr"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"freeze": ["layr1"]},
            r"jobs\.a\.freeze: no module .* 'layr1'; did you mean 'layer1'\? The outermost are: conv1",
        ),
        ({"unfreeze": {"head": 1}}, r"jobs\.a\.unfreeze: no module with parameters is named 'head'"),
        ({"freeze": ["conv1", "bn1", "layer1", "layer2", "layer3", "fc"]}, "no parameter is left to train"),
        ({"architecture": "linear", "options": {}, "layer_decay": 0.5}, r"jobs\.a\.layer_decay: .* LEVELS"),
        (
            {"architecture": "dcgan", "task": "generation", "options": {}, "size": 32, "freeze": ["generator"]},
            r"jobs\.a\.freeze: dcgan trains two networks in turn",
        ),
    ],
)
def test_what_a_network_can_not_follow_is_reported_before_any_job_begins(
    project: Project, here: None, settings: dict[str, Any], message: str
) -> None:
    root, params = project({"a": {**SMALL, **settings}})
    with pytest.raises(UserError, match=message):
        stage.run(params, root)
    assert not list((root / ".work").glob("jobs/*/state.json"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze": ["fc"], "unfreeze": {"fc": 1}}, r"jobs\.a\.unfreeze: fc is in freeze too"),
        ({"unfreeze": {"fc": 3}}, r"jobs\.a\.unfreeze\.fc: unfreeze starts after epoch 3, but th"),
        ({"fraction": 0.5}, r"jobs\.a\.fraction: give either `train_images` or `fraction`"),
        ({"freez": ["fc"]}, r"jobs\.a\.freez: no setting is named 'freez'; did you mean 'freeze'"),
        ({"sampling": "even"}, r"jobs\.a\.sampling: Input should be 'shuffled' or 'balanced'"),
        ({"layer_decay": 0}, r"jobs\.a\.layer_decay: Input should be greater than 0"),
        ({"unfreeze": {"fc": 0}}, r"jobs\.a\.unfreeze\.fc: Input should be greater than 0"),
    ],
)
def test_params_say_what_is_wrong(project: Project, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        project({"a": {**SMALL, **settings}})


def test_more_images_than_there_are_is_reported(project: Project) -> None:
    root, params = project({"a": {**SMALL, "train_images": 5000}})
    number = sample.facts(root / "data/prepared/digits").counts["train"]
    with pytest.raises(UserError, match=rf"jobs\.a\.train_images: digits has {number}"):
        support.job_specs(root, params)


def test_every_setting_is_part_of_the_fingerprint(project: Project) -> None:
    root, params = project({"a": {}})
    marks = {support.job_specs(root, params)["a"].fingerprint}
    changes: list[dict[str, Any]] = [
        {"freeze": ["fc"]},
        {"unfreeze": {"fc": 1}},
        {"layer_decay": 0.8},
        {"sampling": "balanced"},
        {"train_images": 100},
        {"fraction": 0.1},
    ]
    for change in changes:
        marks.add(support.job_specs(root, support.write_params(root, {"a": change}))["a"].fingerprint)
    assert len(marks) == 1 + len(changes)
