"""What is chosen reaches DVC by a file, which changes only with the choice; a wrong word is refused before work."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows import choose, repro
from pipeline import params, store
from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.train import stage
from tests.helpers import support

ROOT = Path(__file__).parents[2]


def test_the_choice_is_a_file_that_stays_while_it_is_the_same(tmp_path: Path) -> None:
    def run(words: str | None) -> object:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment.pop(choose.VARIABLE, None)
        if words is not None:
            environment[choose.VARIABLE] = words
        subprocess.run([sys.executable, "-m", "flows.choose"], cwd=tmp_path, env=environment, check=True)
        return json.loads((tmp_path / params.CHOSEN).read_text())["jobs"]

    assert run(None) is None
    path = tmp_path / params.CHOSEN
    os.utime(path, (1, 1))
    assert run("") is None
    assert path.stat().st_mtime == 1
    assert run("lenet5 linear lenet5") == run("linear  lenet5") == ["lenet5", "linear"]


def test_the_stage_imports_nothing_of_ours() -> None:
    code = "import sys; from flows import choose; print([name for name in sys.modules if name.startswith('pipeline')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_chosen_jobs_take_the_rosters_place(tmp_path: Path) -> None:
    support.write_params(tmp_path, {"a": {}, "b": {"seed": 1}, "c": {"pretrained": {"job": "b"}}}, roster=["a"])
    assert list(params.read_chosen(tmp_path).selected()) == ["a"]
    choose.choose(tmp_path, ["c"])
    assert list(params.read_chosen(tmp_path).selected()) == ["b", "c"]
    choose.choose(tmp_path, [])
    assert list(params.read_chosen(tmp_path).selected()) == ["a"]


def test_a_wrong_word_is_refused_with_a_near_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(choose.VARIABLE, raising=False)
    before = support.write_params(tmp_path, {"lenet": {}}, sets={"empty": []})
    with pytest.raises(UserError, match="is named 'lenett'; did you mean 'lenet'"):
        repro.choose_jobs(tmp_path, ["lenett"])
    with pytest.raises(UserError, match="empty: names no job"):
        repro.choose_jobs(tmp_path, ["empty"])
    assert choose.VARIABLE not in os.environ
    assert params.read(tmp_path / "params.yaml") == before


def test_words_are_jobs_data_sets_studies_and_sets(tmp_path: Path) -> None:
    chosen = params.read(ROOT / "params.yaml").choose

    def count(*words: str) -> int:
        return len(chosen(words).selected())

    everything = params.read(ROOT / "params.yaml")
    own = [name for name in everything.jobs if "." not in name]
    assert count("all") == len(own)
    assert count("linear", "lenet5") == 2
    assert set(chosen(["digits"]).selected()) == {name for name in own if everything.jobs[name].dataset == "digits"}
    assert count("core") == 9
    assert count("residual") == 12
    assert set(chosen(["studies", "studies-long"]).selected()) >= set(everything.jobs) - set(own)


@pytest.mark.usefixtures("here")
def test_force_removes_the_results_of_the_named_jobs_only(
    project: "object", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(choose.VARIABLE, raising=False)
    root, settings = project({"a": {"seed": 1}, "b": {"seed": 2, "pretrained": {"job": "a"}}})  # type: ignore[operator]
    assert isinstance(settings, Params)
    stage.run(settings, root)
    work = {name: item.work for name, item in support.job_specs(root, settings).items()}
    before = store.content_digest(root / "models/b")
    monkeypatch.setenv(choose.VARIABLE, "")
    repro.choose_jobs(root, ["b"], force=True)
    assert (root / "models/a").is_dir()
    assert work["a"].is_dir()
    assert not (root / "models/b").exists()
    assert not work["b"].exists()
    stage.run(settings, root)
    assert store.content_digest(root / "models/b") == before
