"""A fit that a task can't answer with, and a crop that comes too late, are told when params.yaml is read."""

from pathlib import Path
from typing import Any

import pytest

from pipeline import plugins
from pipeline.errors import UserError
from tests.helpers import own_plugins, support

#: any architecture of each task
ARCHITECTURES = {
    task: next(
        name
        for name in plugins.names("models")
        if plugins.network_task(task) in plugins.constant("models", name, "TASKS") and not plugins.needed_fields(name)
    )
    for task in plugins.names("tasks")
}
GIVES = {task: plugins.constant("tasks", task, "GIVES") or "positions" for task in plugins.names("tasks")}


def job(task: str, fit: str) -> dict[str, Any]:
    return {"task": task, "architecture": ARCHITECTURES[task], "fit": fit}


def test_the_shipped_tasks_are_of_all_kinds() -> None:
    assert set(GIVES.values()) == {"positions", "values", "images"}
    assert GIVES["classification"] == "values"
    assert GIVES["generation"] == "images"


@pytest.mark.parametrize("task", plugins.names("tasks"))
def test_which_fit_a_task_can_have(task: str, tmp_path: Path) -> None:
    refused = {"positions": "crop", "images": "letterbox"}.get(GIVES[task])
    for fit in ("stretch", "letterbox", "crop"):
        if fit != refused:
            assert support.write_params(tmp_path, {"a": job(task, fit)}).jobs["a"].fit == fit
            continue
        with pytest.raises(UserError) as error:
            support.write_params(tmp_path, {"a": job(task, fit)})
        remedy = "letterbox" if fit == "crop" else "crop"
        assert str(error.value).count("\n") == 0
        assert all(fact in str(error.value) for fact in ("params.yaml", "jobs.a.fit", task, f"Use {remedy}"))


def test_a_task_of_ones_own_is_refused_what_it_does_not_say_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_plugins.use(tmp_path, monkeypatch)
    text = plugins.source("tasks", "segmentation").read_text(encoding="utf-8")
    without = text.replace("def restore(", "def _restore(")
    assert without != text
    own_plugins.write(own, "tasks", "mine", without + '\nNETWORKS = "segmentation"\n')
    written = {**job("segmentation", "letterbox"), "task": "mine"}
    with pytest.raises(UserError, match=r"jobs\.a\.fit: plugins/tasks/mine\.py has no `restore`.*use stretch"):
        support.write_params(tmp_path, {"a": written})
    support.write_params(tmp_path, {"a": {**written, "fit": "stretch"}})
    own_plugins.write(own, "tasks", "ours", text + '\nNETWORKS = "segmentation"\n')
    support.write_params(tmp_path, {"a": {**written, "task": "ours"}})


@pytest.mark.parametrize("part", ["online", "staged"])
def test_what_chooses_a_part_of_the_image_comes_first_and_once(part: str, tmp_path: Path) -> None:
    def write(*names: str) -> None:
        transforms: list[dict[str, Any]] = [{name: {}} for name in names]
        policy: dict[str, Any] = {"online": transforms} if part == "online" else {"staged": {"transforms": transforms}}
        support.write_params(tmp_path, {"a": {"augmentation": "mine"}}, augmentation={"mine": policy})

    write("random_resized_crop", "rotation")
    for names in (("rotation", "random_resized_crop"), ("random_resized_crop", "random_resized_crop")):
        with pytest.raises(UserError, match=r"augmentation\.mine\.\S+\.1: random_resized_crop .*first in its list"):
            write(*names)
