"""A rank that would read another copy of the project does not train: no wrong model gets the right fingerprint."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from pipeline import fingerprint, store
from pipeline.params import Params
from pipeline.train import reads
from pipeline.train.job_state import JobSpec, JobState
from tests.helpers import support, worlds

Project = Callable[..., tuple[Path, Params]]
WORLD, STALE = 2, 1


def another_copy(folder: Path, target: Path) -> Path:
    """A whole stored folder with other content, as an old copy of the project has it."""
    with store.folder(target, "old") as path:
        for name in store.manifest(folder)["files"]:
            shutil.copy(folder / name, path)
        (path / "more").write_text("x")
    return target


def ordered(project: Project, **job: Any) -> JobSpec:
    root, params = project({"a": {"augmentation": "light", **job}})
    return support.job_specs(root, params)["a"]


def test_the_maker_reads_what_its_job_spec_names(project: Project) -> None:
    job_spec = ordered(project)
    assert set(job_spec.reads) >= {"code", "images"}
    assert reads.differences(job_spec) is None


@pytest.mark.parametrize("what", ["images", "staged copies"])
def test_another_copy_of_the_data_fails_the_job_once_and_trains_nothing(
    project: Project, tmp_path: Path, what: str
) -> None:
    job_spec = ordered(project)
    if what == "images":
        job_spec = dataclasses.replace(job_spec, prepared=another_copy(job_spec.prepared, tmp_path / "old"))
    else:
        assert job_spec.augmented is not None
        job_spec = dataclasses.replace(job_spec, augmented=another_copy(job_spec.augmented, tmp_path / "old"))
    support.train_all([job_spec])
    entry = JobState.of(job_spec).read()
    assert (entry["state"], entry["attempts"], entry["final"]) == ("failed", 1, True)
    assert f"{what} differ" in entry["reason"]
    assert "Share the folder" in entry["reason"]
    assert not job_spec.model.exists()


def test_other_code_fails_the_job(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job_spec = ordered(project)
    shutil.copytree(fingerprint.ROOT / "pipeline", tmp_path / "old/pipeline")
    loop = tmp_path / "old/pipeline/train/loop.py"
    loop.write_text(loop.read_text().replace("self.step += 1", "self.step += 2"))
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path / "old")
    assert "code differ" in str(reads.differences(job_spec))


def test_bytes_that_are_not_those_of_the_manifest_fail_the_job(project: Project, tmp_path: Path) -> None:
    job_spec = ordered(project)
    torn = tmp_path / "torn"
    shutil.copytree(job_spec.prepared, torn)
    shard = next(torn.glob("train*.arrow"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert "its content has changed since" in str(reads.differences(dataclasses.replace(job_spec, prepared=torn)))


def test_weights_to_start_from_are_compared(project: Project) -> None:
    root, params = project({"a": {"epochs": 0}, "b": {"pretrained": {"job": "a"}}})
    job_specs = support.job_specs(root, params)
    support.train_all(list(job_specs.values()))
    assert {JobState.of(job_spec).read()["state"] for job_spec in job_specs.values()} == {"done"}
    other = dataclasses.replace(job_specs["b"], reads=job_specs["b"].reads | {"pretrained": "0" * 64})
    assert "pretrained differ" in str(reads.differences(other))


def _start(rank: int, ask: worlds.Asking, job_specs: list[JobSpec], meeting: Path, old: Path) -> None:
    worlds.meet(rank, meeting)
    if rank == STALE:  # the leader hands its order round, so what lies at its paths is what differs on a node
        folders = reads._folders
        reads._folders = lambda job_spec: {**folders(job_spec), "images": old}
    worlds.work(rank, ask, job_specs)
    dist.destroy_process_group()


def test_one_rank_with_an_old_copy_fails_the_job_on_both(project: Project, tmp_path: Path) -> None:
    job_spec = ordered(project, workers=2)
    old = another_copy(job_spec.prepared, tmp_path / "old")
    worlds.train(_start, [job_spec], tmp_path / "meeting", old)
    entry = JobState.of(job_spec).read()
    assert (entry["state"], entry["attempts"], entry["final"]) == ("failed", 1, True)
    assert "differ from those of the job" in entry["reason"]
    assert not job_spec.model.exists()
