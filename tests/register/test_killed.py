"""Killed before any SQL statement that changes something, `register` comes to the same end when it is run again.

A killed process is a fork of this one, which has MLflow imported; it dies by SIGKILL before its n-th statement.
"""

import json
import os
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline import store, tracking
from pipeline.params import Params
from pipeline.register import champion, trust
from pipeline.register import stage as register_stage
from pipeline.tracking import FINGERPRINT
from tests.helpers import support
from tests.helpers.support import GOOD, WEAK

MODEL = "digits-classification"
CHANGES = ("INSERT", "UPDATE", "DELETE")
OWN = ("mlruns", "reports", ".work")


def forked(work: Callable[[], None]) -> int:
    """The exit code of a fork that does this; the negative signal where one ended it."""
    number = os.fork()
    if number == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def listen(heard: Callable[[str], None]) -> None:
    """Hear of each statement of this process that changes something, before it is carried out."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def before(connection: Any, cursor: Any, statement: str, *others: Any) -> None:
        if statement.split()[0] in CHANGES:
            heard(statement)

    event.listen(Engine, "before_cursor_execute", before)


class Project:
    """A project folder whose registry can be put back as it was at the start."""

    def __init__(self, root: Path, trained: Path) -> None:
        self.root, self.start = root / "project", root / "start"
        self.root.mkdir()
        for name in ("data", "models", "metrics", "evaluations"):
            (self.root / name).symlink_to(trained / name)

    def ends(self, work: Callable[[], None]) -> None:
        assert forked(work) == 0

    def keep(self) -> None:
        """Take what is there now as the start."""
        for name in OWN:
            (self.root / name).mkdir(exist_ok=True)
            shutil.copytree(self.root / name, self.start / name, dirs_exist_ok=True)

    def put_back(self) -> None:
        for name in OWN:
            shutil.rmtree(self.root / name)
            shutil.copytree(self.start / name, self.root / name)

    def run(self, params: Params) -> tuple[list[str], dict[str, Any]]:
        """Register to the end: the statements that changed something, and what the registry holds then."""
        told = self.root / "told.json"

        def work() -> None:
            heard: list[str] = []
            listen(heard.append)
            register_stage.run(params, self.root)
            store.write_json(told, [heard, state(self.root)])

        self.ends(work)
        statements, held = store.read_json(told)
        return statements, held

    def run_killed(self, params: Params, at: int) -> None:
        """Register, and die before the statement of this number, from 0."""

        def work() -> None:
            heard: list[str] = []

            def kill(statement: str) -> None:
                if len(heard) == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                heard.append(statement)

            listen(kill)
            register_stage.run(params, self.root)

        assert forked(work) == -signal.SIGKILL

    def sweep(self, params: Params, chosen: Callable[[str], bool] = bool) -> tuple[int, dict[str, Any]]:
        """How many kills, and what was left after those that did not end as the undisturbed registration."""
        self.put_back()
        statements, wanted = self.run(params)
        wrong: dict[str, Any] = {}
        kills = [at for at, statement in enumerate(statements) if chosen(statement)]
        for at in kills:
            self.put_back()
            self.run_killed(params, at)
            _, found = self.run(params)
            if found != wanted:
                wrong[f"{at}: {statements[at][:60]}"] = {key: found[key] for key in found if found[key] != wanted[key]}
        print(f"{len(kills)} kills of {len(statements)} statements, {len(wrong)} unequal")
        return len(kills), wrong


def state(root: Path) -> dict[str, Any]:
    """What the registry holds, without numbers and times that differ from one registration to another."""
    client = tracking.client(root)
    (experiment,) = (found for found in client.search_experiments() if found.name != "Default")
    runs: dict[str, Any] = {}
    models: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    names = {}
    for run in client.search_runs([experiment.experiment_id]):
        mark = names[run.info.run_id] = run.data.tags[FINGERPRINT]
        assert mark not in runs, "a second run of one fingerprint"
        inputs = [[found.dataset.name, found.dataset.digest, len(found.tags)] for found in run.inputs.dataset_inputs]
        pictures = [[item.path, item.file_size] for item in client.list_artifacts(run.info.run_id, "pictures")]
        curve = [point.value for point in client.get_metric_history(run.info.run_id, "train/loss")]
        outputs = len(run.outputs.model_outputs)
        runs[mark] = [run.info.status, run.info.run_name, run.data.params, run.data.metrics, run.data.tags]
        runs[mark] += [inputs, pictures, curve, outputs, run.info.end_time is not None]
    for model in client.search_logged_models([experiment.experiment_id]):
        numbers = {metric.key: metric.value for metric in model.metrics}
        models.setdefault(names[model.source_run_id], []).append([str(model.status), model.params, numbers])
    known = trust.keys(root, make=False)
    for version in client.search_model_versions(f"name = '{MODEL}'"):
        tags = {key: value for key, value in version.tags.items() if key != trust.SIGNATURE}
        place = trust.local(root, client.get_model_version_download_uri(MODEL, version.version))
        assert place is not None, "a version without files"
        aliases = sorted(client.get_model_version(MODEL, version.version).aliases)
        whole = trust.signed(known, version) == trust.digest(place)
        versions.setdefault(tags[FINGERPRINT], []).append([tags, version.description, aliases, whole])
    files = (path.relative_to(root / "mlruns") for path in (root / "mlruns/artifacts").rglob("*") if path.is_file())
    listed = Counter(f"{path.parts[-2]}/{path.name}" for path in files)
    registered = (root / "reports/registered.json").read_text()
    told = {"runs": runs, "models": models, "versions": versions, "files": listed, "registered": registered}
    return dict(json.loads(json.dumps(told)))


@pytest.fixture(scope="module")
def warm(trained: tuple[Path, Params], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Register once in this process, so that its forks have imported all that it takes."""
    root = Project(tmp_path_factory.mktemp("warm"), trained[0]).root
    register_stage.run(support.write_params(root, {"weak": WEAK}), root)
    state(root)


@pytest.fixture
def project(warm: None, trained: tuple[Path, Params], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with an empty database, whose champion answers as it was measured."""
    rows = pq.read_table(trained[0] / "evaluations/weak/test.parquet")
    monkeypatch.setattr(champion, "rows", lambda *arguments: rows)
    made = Project(tmp_path, trained[0])
    made.ends(lambda: tracking.client(made.root) and None)
    made.keep()
    return made


def one(project: Project) -> Params:
    return support.write_params(project.root, {"weak": WEAK})


def two(project: Project) -> Params:
    return support.write_params(project.root, {"weak": WEAK, "good": GOOD})


def registered(project: Project) -> dict[str, Any]:
    return dict(store.read_json(project.root / "reports/registered.json")[MODEL])


def test_a_promotion_is_completed_after_a_kill(project: Project) -> None:
    project.run(one(project))
    project.keep()
    params = two(project)
    kills, wrong = project.sweep(params, lambda statement: " registered_model_aliases " in statement)
    assert not wrong
    assert kills == 3
    assert registered(project)["champion"]["job"] == "good"
    assert project.run(params)[0] == [], "again, nothing is left to do"


@pytest.mark.slow
def test_a_first_registration_is_completed_after_a_kill(project: Project) -> None:
    kills, wrong = project.sweep(one(project))
    assert not wrong
    assert kills > 20


@pytest.mark.slow
def test_a_second_registration_is_completed_after_a_kill(project: Project) -> None:
    project.run(one(project))
    project.keep()
    kills, wrong = project.sweep(two(project))
    assert not wrong
    assert kills > 20


@pytest.mark.slow
def test_signing_what_was_made_before_is_completed_after_a_kill(project: Project) -> None:
    params = two(project)
    project.run(params)

    def forget() -> None:
        client = tracking.client(project.root)
        for version in client.search_model_versions():
            client.delete_model_version_tag(version.name, version.version, trust.SIGNATURE)

    project.ends(forget)
    for name in (trust.KEY, trust.MARKER):
        (project.root / "mlruns" / name).unlink()
    project.keep()
    kills, wrong = project.sweep(params)
    assert not wrong
    assert kills == 2, "a signature of each version"
