"""The whole graph as a user runs it, in a clone of this tree: what trains when, and what travels."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.parts.clone import copy_tree
from pipeline import store

#: asks the champion as a program elsewhere would: by its name alone
ASK = """
import mlflow, pandas, sys
from pathlib import Path
champion = mlflow.pyfunc.load_model("models:/digits-classification@champion")
print(champion.predict(pandas.DataFrame({"image": [Path(sys.argv[1]).read_bytes()]}))["label"][0])
"""
REPO = Path(__file__).parents[2]
BIN = REPO / ".venv/bin"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BIN / "dvc").exists(), reason="needs the environment that `make setup` makes"),
]


def shell(folder: Path, command: str) -> str:
    """What a command prints; its failure is the test's."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This tree's files in a repository of their own, with few epochs, run once."""
    folder = tmp_path_factory.mktemp("clone")
    copy_tree(folder)
    edit(folder / "params.yaml", "roster: core", "roster: [linear, lenet5]")
    edit(folder / "params.yaml", "epochs: 20", "epochs: 2")
    edit(folder / "params.yaml", "epochs: 24", "epochs: 2")
    shell(folder, "git init -q && git add -A && git -c user.name=a -c user.email=a@b commit -qm clone")
    assert "2 of 2 jobs to train" in shell(folder, "python -m flows.repro")
    return folder


def champion(folder: Path) -> str:
    return str(store.read_json(folder / "reports/registered.json")["digits-classification"]["champion"]["fingerprint"])


def test_it_ends_with_a_champion_and_a_report(clone: Path) -> None:
    assert champion(clone)
    assert "lenet5" in (clone / "reports/index.html").read_text()
    assert shell(clone, "git status --porcelain").split() == ["??", "dvc.lock"]


def test_again_nothing_trains(clone: Path) -> None:
    again = shell(clone, "dvc repro")
    assert "Stage 'train' didn't change, skipping" in again
    assert "flows.train" not in again


def test_a_comment_trains_nothing(clone: Path) -> None:
    with (clone / "pipeline/train/loop.py").open("a") as file:
        file.write("\n# a remark\n")
    assert "nothing to do, 2 jobs are up to date" in shell(clone, "dvc repro")


def test_one_lr_trains_one_job(clone: Path) -> None:
    edit(clone / "params.yaml", "lr: 0.05", "lr: 0.04")
    assert "1 of 2 jobs to train: linear" in shell(clone, "dvc repro")
    edit(clone / "params.yaml", "lr: 0.04", "lr: 0.05")
    assert "nothing to do" in shell(clone, "dvc repro")


def test_a_chosen_job_runs_alone_and_the_results_of_others_stay(clone: Path) -> None:
    before = champion(clone)
    assert "nothing to do, 1 jobs are up to date" in shell(clone, "python -m flows.repro lenet5")
    assert all((clone / "metrics" / f"{name}.json").exists() for name in ("linear", "lenet5"))
    assert "linear" in (clone / "reports/index.html").read_text()
    assert champion(clone) == before
    assert "nothing to do, 2 jobs are up to date" in shell(clone, "dvc repro")
    assert "flows.train" not in shell(clone, "dvc repro")


def test_a_lost_database_comes_back_without_training(clone: Path) -> None:
    before = champion(clone)
    shutil.rmtree(clone / "mlruns")
    assert "flows.train" not in shell(clone, "dvc repro")
    assert champion(clone) == before
    assert (clone / "mlruns/mlflow.db").exists()


def test_a_colleague_pulls_and_trains_nothing_then_one(clone: Path, tmp_path: Path) -> None:
    remote, other = tmp_path / "remote", tmp_path / "other"
    shell(clone, f"dvc remote add -fd store {remote} && git add -A")
    shell(clone, "git -c user.name=a -c user.email=a@b commit -qm run && dvc push -q")
    shell(tmp_path, f"git clone -q {clone} {other}")
    shell(other, "dvc pull -q")
    assert "flows.train" not in shell(other, "dvc repro")
    edit(other / "params.yaml", "lr: 0.05", "lr: 0.03")
    assert "1 of 2 jobs to train: linear" in shell(other, "dvc repro")


def test_renamed_between_two_runs_nothing_trains_and_champions_answer(clone: Path, tmp_path: Path) -> None:
    """The last test of this file: the clone is gone from where it was."""
    shell(clone, "python -m flows.repro")
    before, moved = champion(clone), clone.with_name("mein Projekt ü")
    clone.rename(moved)
    again = shell(moved, "python -m flows.repro")
    assert f"{clone / 'mlruns'} is {moved / 'mlruns'} now" in again
    assert "flows.train" not in again
    assert champion(moved) == before
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / "one.png")
    answered = json.loads(shell(moved, f"python -m convline predict digits-classification {tmp_path / 'one.png'}"))
    database = f"MLFLOW_TRACKING_URI='sqlite:///{moved / 'mlruns/mlflow.db'}'"
    label = shell(tmp_path, f"{database} python -P -c '{ASK}' {tmp_path / 'one.png'}").splitlines()[-1]
    assert label == answered["label"]
    assert not clone.exists()
