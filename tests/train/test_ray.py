"""Ray for real, once: worker groups, jobs that fail alone, two processes, and jobs that start from others."""

import dataclasses
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pipeline import store
from pipeline.errors import UserError
from pipeline.evaluate.after_training import Evaluator
from pipeline.params import Params, Train
from pipeline.train import ray_train
from pipeline.train.job_state import JobState
from tests.helpers import support, surveys

Project = Callable[..., tuple[Path, Params]]
ROOT = Path(__file__).parents[2]
#: trains in a process of its own: what Ray reads when it is imported, it reads once
TRAIN = """
import json, pickle, signal, sys
from pipeline.train import ray_train
from pipeline.train.follow import Follower
orders, settings, root, after = pickle.load(sys.stdin.buffer)
own, times = signal.getsignal(signal.SIGTERM), {}
ray_train.run(orders, settings, root, times, Follower(orders, None), after)
print(json.dumps({**times, "own": signal.getsignal(signal.SIGTERM) == own}))
"""


def test_jobs_of_all_kinds_in_one_group(project: Project) -> None:
    jobs = {
        "late": {"pretrained": {"job": "wide"}, "seed": 1},
        "other": {"seed": 2},
        "diverges": {"lr": 1e38},
        "wide": {"workers": 2, "seed": 3},
        "falls": {"pretrained": {"job": "diverges"}, "seed": 4},
    }
    root, params = project(jobs)
    orders = support.job_specs(root, params)
    broken = orders["other"].job.model_copy(update={"batch": 0})  # so every attempt breaks
    orders["other"] = dataclasses.replace(orders["other"], job=broken)
    given = pickle.dumps((list(orders.values()), params.train, root, Evaluator.of(params, root)))
    with surveys.surveyed() as survey:
        done = subprocess.run([sys.executable, "-c", TRAIN], input=given, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    times = json.loads(done.stdout.splitlines()[-1])
    assert survey.open_doors() == {}
    assert {"gcs_server", "raylet", "ray::RayTrainWorker"} <= survey.listening.keys()
    assert survey.ranks["ray::RayTrainWorker"] == {psutil.Process().nice()}
    assert times["own"], "Ray's handler of SIGTERM took the place of ours"
    entries = {name: JobState.of(order).read() for name, order in orders.items()}
    assert {name: entry["state"] for name, entry in entries.items()} == {
        "late": "done",
        "other": "failed",
        "diverges": "failed",
        "wide": "done",
        "falls": "failed",
    }
    assert "not finite" in entries["diverges"]["reason"]
    assert entries["diverges"]["attempts"] == 1
    assert "diverges, from which this job starts, failed" in entries["falls"]["reason"]
    assert "failed after 3 attempts" in entries["other"]["reason"]
    assert "Traceback" in entries["other"]["traceback"]
    assert store.holds(orders["late"].model, orders["late"].fingerprint)
    assert store.holds(orders["wide"].model, orders["wide"].fingerprint)
    evaluated = {name for name, entry in entries.items() if str(entry.get("evaluated")).startswith("evaluated in")}
    assert evaluated == {name for name, entry in entries.items() if entry["state"] == "done"}
    assert len([*(root / ".work/evaluations").iterdir()]) == len(evaluated)
    assert times["ray_s"] > times["ray_start_s"] > 0
    assert not list((root / ".work/ray").glob("*"))


@pytest.mark.parametrize(
    ("workers", "cpus", "gpus", "width"), [(1, 2, 0, 1), ("auto", 2, 0, 1), ("auto", 8, 4, 4), (2, 8, 4, 2)]
)
def test_width(project: Project, workers: int | str, cpus: int, gpus: int, width: int) -> None:
    root, params = project({"a": {"workers": workers}})
    assert ray_train.width(support.job_specs(root, params)["a"], cpus, gpus) == width


def test_more_workers_than_there_are_is_refused_by_name(project: Project) -> None:
    root, params = project({"a": {"workers": 3}})
    with pytest.raises(UserError, match=r"jobs\.a\.workers: 3 processes, but Ray has 2 CPUs"):
        ray_train.width(support.job_specs(root, params)["a"], 2, 0)


def test_what_is_fitted_once_is_fitted_by_one_process(project: Project) -> None:
    root, params = project({"a": {"workers": "auto", "epochs": 0}, "b": {"workers": "auto", "epochs": 1}})
    job_specs = support.job_specs(root, params)
    assert [ray_train.width(job_specs[name], 8, 4) for name in ("a", "b")] == [1, 4]


@pytest.mark.parametrize(
    ("widths", "worker_groups", "cpus", "gpus", "world"),
    [([1], "auto", 2, 0, 1), ([1, 1, 1], "auto", 2, 0, 2), ([1, 1, 1], 1, 4, 0, 1), ([1, 4], "auto", 4, 4, 4)],
)
def test_world(widths: list[int], worker_groups: int | str, cpus: int, gpus: int, world: int) -> None:
    assert ray_train.world(widths, Train.model_validate({"worker_groups": worker_groups}), gpus or cpus) == world
