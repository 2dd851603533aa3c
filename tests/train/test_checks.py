"""Every fault of every job is told before Ray starts, at the setting that has it; one in a worker is told once."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import disk, plugins, store
from pipeline.errors import UserError
from pipeline.params import Params, Train
from pipeline.train import checks, loop, ray_train, stage
from pipeline.train.job_state import JobState
from tests.helpers import support

Project = Callable[..., tuple[Path, Params]]
RESNET = {"architecture": "resnet", "options": {"depth": 18, "width": 8}, "size": 32}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": {"class_weights": {"eleven": 2}}}, r"jobs\.a\.loss\.class_weights: no class is named 'eleven'"),
        ({"loss": {"class_weights": {"1": "much"}}}, r"jobs\.a\.options: linear can't be built .*much"),
        ({"architecture": "lenet5", "size": 4}, r"jobs\.a\.size: 4 is too small for lenet5"),
        ({**RESNET, "options": {"depth": 19}}, r"jobs\.a\.options\.depth: 19 is not one of"),
        ({**RESNET, "options": {"depth": "deep"}}, r"jobs\.a\.options"),
        ({**RESNET, "options": {"width": "wide"}}, r"jobs\.a\.options: resnet can't be built .*wide"),
        ({"pretrained": {"file": "none.safetensors"}}, r"jobs\.a\.pretrained\.file: .*none\.safetensors"),
        ({"train_images": 10**6}, r"jobs\.a\.train_images: digits has"),
    ],
)
def test_a_fault_is_reported_at_its_setting(project: Project, settings: dict[str, Any], message: str) -> None:
    root, params = project({"a": settings})
    with pytest.raises(UserError, match=f"params\\.yaml: {message}"):
        checks.check(params, root)


def test_an_image_that_does_not_go_through(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import nn

    module = plugins.load("models", "linear")
    monkeypatch.setattr(module, "build", lambda spec: nn.Sequential(nn.Conv2d(1, 10, 9), nn.Flatten()))
    root, params = project({"a": {}})
    with pytest.raises(UserError, match=r"jobs\.a\.size: linear .* 8 pixels .*larger"):
        checks.check(params, root)


def test_a_layer_that_needs_values_is_tried_on_the_cpu(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import Tensor, nn

    class Value(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images * images.sum().item()

    monkeypatch.setattr(
        plugins.load("models", "linear"), "build", lambda spec: nn.Sequential(Value(), nn.Flatten(), nn.Linear(64, 10))
    )
    root, params = project({"a": {}})
    checks.check(params, root)


def test_all_are_reported_at_once_and_of_seeds_one(project: Project) -> None:
    bad = {"loss": {"class_weights": {"x": 1}}}
    root, params = project({"a": {"architecture": "lenet5", "size": 4}, "b": bad, "c": {**bad, "seed": 1}, "good": {}})
    with pytest.raises(UserError) as caught:
        checks.check(params, root)
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == [
        " jobs.a.size",
        " jobs.c.loss.class_weights",
    ]


def test_the_train_stage_refuses_before_ray(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray_train, "run", started)
    root, params = project({"a": {"loss": {"class_weights": {"x": 1}}}, "b": {}})
    with pytest.raises(UserError, match=r"jobs\.a\.loss\.class_weights"):
        stage.run(params, root)
    assert not list((root / ".work").glob("jobs/*/state.json"))


@pytest.mark.parametrize(
    ("error", "final", "reason"),
    [
        (UserError("params.yaml: jobs.a.x: wrong. Mend it."), True, "params.yaml: jobs.a.x: wrong. Mend it."),
        (store.StoreError("shard: damaged. Run again."), False, "shard: damaged. Run again."),
        (OSError(errno.EROFS, "Read-only file system", "/a"), False, "/a: is on a disk that is mounted read-only"),
    ],
)
def test_what_a_person_must_mend_is_tried_once(
    project: Project, monkeypatch: pytest.MonkeyPatch, error: Exception, final: bool, reason: str
) -> None:
    def train(*_: Any) -> None:
        raise error

    monkeypatch.setattr(loop, "train", train)
    root, params = project({"a": {}})
    order = support.job_specs(root, params)["a"]
    support.train_all([order])
    entry = JobState.of(order).read()
    assert (entry["state"], entry["attempts"], entry["final"]) == ("failed", 1, final)
    assert entry["reason"].startswith(reason)


def test_what_may_pass_is_tried_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*_: Any) -> None:
        raise RuntimeError("the weather")

    monkeypatch.setattr(loop, "train", train)
    root, params = project({"a": {}})
    order = support.job_specs(root, params)["a"]
    support.train_all([order], Train(attempts=3))
    entry = JobState.of(order).read()
    assert (entry["state"], entry["attempts"]) == ("failed", 3)
    assert entry["reason"] == "failed after 3 attempts: RuntimeError: the weather"


def test_a_disk_too_full_for_a_reason_is_named_as_one(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    root, params = project({"a": {}})
    order = support.job_specs(root, params)["a"]
    assert "run again to resume" in stage._failure(order)["reason"]
    monkeypatch.setattr(disk, "free", lambda path: 4096)
    assert "the disk is full (4,096 bytes free). Make room" in stage._failure(order)["reason"]
