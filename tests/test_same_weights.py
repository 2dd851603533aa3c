"""The comparison of two commits' weights: what it changes in params.yaml, and what it calls different."""

from pathlib import Path

from pipeline import params
from tests import same_weights
from tests.helpers import own_plugins, support

ROOT = Path(__file__).parents[1]


def test_the_shortened_params_are_valid_and_have_a_job_of_every_task(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    support.copy_params(ROOT, tmp_path)
    before = params.read(path)
    same_weights.shorten(tmp_path)
    after = params.read(path)
    assert set(after.selected()) == {name for name in before.jobs if before.study(name) is None}
    assert {after.jobs[name].task for name in after.selected()} == set(own_plugins.shipped("tasks"))
    assert max(job.epochs for job in after.jobs.values()) == same_weights.MOST_EPOCHS
    for name, job in after.jobs.items():
        assert job == before.jobs[name].model_copy(update={"epochs": job.epochs})


def test_equal_is_what_both_have() -> None:
    base = {"a": ["t", "1"], "b": ["t", "1"], "c": ["t", "missing"], "d": ["t", "1"]}
    head = {"a": ["t", "1"], "b": ["t", "2"], "c": ["t", "missing"], "e": ["t", "1"]}
    lines, different = same_weights.compare(base, head)
    assert len(lines) == 5
    assert different == ["b", "c", "d", "e"]
