"""An old params.yaml becomes one of this version: what is the user's stays, and the same jobs run as before."""

import functools
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from convline import new_form, shipped, upgrading
from pipeline import params, params_files, params_old, safe_yaml, store
from pipeline.errors import UserError
from tests.data.upgrade.layout import lay_out
from tests.data.upgrade.make import run

ROOT = Path(__file__).parents[2]
OLD = (ROOT / "tests/data/upgrade/params-0.1.yaml").read_text(encoding="utf-8")
#: the names that roster `core` had
CORE = ["linear", "lenet5", "resnet-single", "faster_rcnn", "mask_rcnn", "resnet", "cam", "unet", "dcgan"]
OWN = """
  # Mine, from a colleague.
  mine:
    core: true
    task: detection  # of cells
    architecture: faster_rcnn
    dataset: scenes
    options: {backbone: resnet, stages: [layer1, layer2]}
    pretrained: {job: mask_rcnn-points}
"""


def edited(*changes: tuple[str, str]) -> str:
    text = OLD
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


@functools.cache
def converted(text: str) -> str:
    return new_form.convert(text, Path("params.yaml"), ROOT / params_files.FOLDER)[0]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with this version's params/."""
    (tmp_path / "params").symlink_to(ROOT / "params")
    (tmp_path / ".work").mkdir()
    (tmp_path / "dvc.yaml").touch()
    return tmp_path


def read(text: str, root: Path) -> params.Params:
    (root / "params.yaml").write_text(text, encoding="utf-8")
    return params.read(root / "params.yaml")


@functools.cache
def old_jobs(text: str) -> dict[str, Any]:
    """The jobs of an old file by their names of today, without what is not a setting any more."""
    value = safe_yaml.load(text)
    for path, new in list(params_old.renames(value)):
        owner = value
        for part in path[:-1]:
            owner = owner[part]
        owner[new] = owner.pop(path[-1])
    jobs = {params_old.JOBS.get(name, name): {**job} for name, job in value["jobs"].items()}
    for job in jobs.values():
        job.pop("core", None)
        if (source := (job.get("pretrained") or {}).get("job")) in params_old.JOBS:
            job["pretrained"] = {"job": params_old.JOBS[source]}
    return {name: params.Job.model_validate(job) for name, job in jobs.items()}


@pytest.mark.parametrize(
    "text",
    [
        OLD,
        edited(("    epochs: 24\n    batch: 32\n    lr: 0.02", "    epochs: 30\n    batch: 32\n    lr: 0.02")),
        edited(("    lr: 0.1\n", "    lr: 0.2\n"), ("\n  resnet:", f"{OWN}\n  resnet:")),
    ],
    ids=["as shipped", "lenet5, which others are like", "own job"],
)
def test_every_job_has_the_settings_that_it_had(text: str, root: Path) -> None:
    now = read(converted(text), root)
    assert {name: job for name, job in now.jobs.items() if "." not in name} == old_jobs(text)


def test_the_shipped_file_becomes_short(root: Path) -> None:
    text = converted(OLD)
    assert len(text.splitlines()) <= 60
    assert read(text, root).datasets == params.read(ROOT / "params.yaml").datasets
    assert "core: true" not in text
    assert "make studies" not in text


@pytest.mark.parametrize("made", [True, False])
def test_a_file_of_this_version_stays_as_it_is(made: bool) -> None:
    text = converted(OLD) if made else (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert new_form.convert(text, Path("params.yaml"), ROOT / params_files.FOLDER) == (text, [])


def test_own_jobs_stay_with_their_comments_and_new_names(root: Path) -> None:
    text = converted(edited(("\n  resnet:", f"{OWN}\n  resnet:"), ("attempts: 3}", "attempts: 3, lanes: 2}")))
    own = OWN.replace("    core: true\n", "").replace("stages", "levels").replace("-points", "-keypoints")
    assert own in text
    assert "worker_groups: 2}" in text
    now = read(text, root)
    assert now.roster == ["core", "mine"]
    assert set(now.resolve(now.roster)) == {*CORE, "mine"}


def test_a_core_without_all_shipped_jobs_becomes_a_set(root: Path) -> None:
    now = read(converted(edited(("  unet:\n    core: true\n", "  unet:\n"))), root)
    assert now.roster == "core"
    assert set(now.sets["core"]) == {*CORE} - {"unet"}


def test_a_file_that_was_merged_without_conflict_keeps_its_own_core_jobs(root: Path) -> None:
    """Lines of the user with `core: true` in the file of this version."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    now = read(converted(text.replace("\n  lenet5:", f"{OWN}\n  lenet5:")), root)
    assert now.roster == ["core", "mine"]
    assert now.jobs["mine"].pretrained == params.Pretrained(job="mask_rcnn-keypoints")


def test_a_shipped_job_that_was_changed_replaces_that_of_params(root: Path) -> None:
    text = converted(edited(("    lr: 0.1\n", "    lr: 0.2  # mine\n")))
    assert "  resnet:\n    task: classification" in text
    assert "lr: 0.2  # mine" in text
    assert "\n  alexnet:" not in text
    now = read(text, root)
    assert now.jobs["resnet"].lr == 0.2
    assert "resnet" in now.resolve(["lineage"])


@pytest.mark.parametrize(
    ("roster", "names"),
    [
        ("core", CORE),
        ("[core, mask_rcnn-points]", [*CORE, "mask_rcnn-keypoints"]),
        ("all", None),
        ("[linear, residual]", ["linear", "residual"]),
        ("[studies, linear]", ["linear", *re.findall(r"^  (\w+):\n    question", OLD, re.MULTILINE)]),
    ],
)
def test_the_same_jobs_and_studies_run(roster: str, names: list[str] | None, root: Path) -> None:
    now = read(converted(edited(("roster: core", f"roster: {roster}"))), root)
    words = [now.roster] if isinstance(now.roster, str) else now.roster
    assert {name.partition(".")[0] for name in now.resolve(words)} == set(names or old_jobs(OLD))


def test_words_that_mean_more_jobs_now_become_names(root: Path) -> None:
    """Of a file whose user removed a shipped job, which params/ has."""
    start, end = OLD.index("  segnet:\n"), OLD.index("\n# A study puts")
    now = read(converted(edited((OLD[start:end], ""), ("roster: core", "roster: all"))), root)
    assert set(now.roster) == {*old_jobs(OLD)} - {"segnet"}


SLIM = """roster: all
datasets: {leaves: {format: image_folder, path: data/raw/leaves}}
jobs:
  mine: {task: classification, architecture: linear, dataset: leaves, core: true}
"""


def test_a_file_without_the_shipped_entries_gets_what_params_needs(root: Path) -> None:
    now = read(converted(SLIM), root)
    assert list(now.selected()) == ["mine"]
    assert {"digits", "single", "scenes", "leaves"} == set(now.datasets)
    assert next(iter(now.augmentation)) == "light"


def test_shipped_entries_are_those_of_the_shipped_file() -> None:
    files = params_files.load(ROOT / "params.yaml")
    assert all(files[section][name] == entry for (section, name), entry in shipped.entries().items())


def test_an_alias_is_followed(root: Path) -> None:
    text = edited(("\n  linear:\n", "\n  linear: &a\n"), ("\n  lenet5:\n", "\n  same: *a\n\n  lenet5:\n"))
    now = read(converted(text), root)
    assert now.jobs["same"] == now.jobs["linear"]
    assert now.roster == ["core", "same"]


def test_what_can_t_be_rewritten_is_an_error_with_a_remedy() -> None:
    merged = "\n  same: {<<: *a}\n\n  lenet5:\n"
    with pytest.raises(UserError, match="blocks"):
        converted(edited(("\n  linear:\n", "\n  linear: &a\n"), ("\n  lenet5:\n", merged)))


OLD_SETTINGS = {
    "jobs.linear.core": ("  linear:\n", "  linear:\n    core: true\n"),
    "train.lanes": ("attempts: 3}", "attempts: 3, lanes: 1}"),
    "jobs.lenet5.options.stage": ("  lenet5:\n", "  lenet5:\n    options: {stage: 1}\n"),
    "augmentation.light.online.0.overlay.share": ("- shift: {limit: 0.08}", "- overlay: {share: 0.5}"),
    "datasets.single.options.points": (
        "  single: {format: single}\n",
        "  single: {format: coco, options: {points: true}}\n",
    ),
}


@pytest.mark.parametrize("setting", OLD_SETTINGS)
def test_an_old_file_that_is_run_names_the_command(setting: str, root: Path) -> None:
    old, new = OLD_SETTINGS[setting]
    text = converted(OLD).replace("architecture: lenet5", "architecture: cam")
    assert old in text
    with pytest.raises(UserError, match="convline upgrade") as caught:
        read(text.replace(old, new, 1), root)
    assert setting in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_is_written_before_it_is_shown_and_never_in_a_dry_run(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = root / "params.yaml"
    path.write_text(OLD, encoding="utf-8")
    dry = upgrading.upgrade(root, dry_run=True)
    assert path.read_text(encoding="utf-8") == OLD
    assert list((root / ".work").glob("*params*")) == []
    done = upgrading.upgrade(root, dry_run=False)
    assert done == dry
    assert done["jobs"] == dict.fromkeys(CORE, "waiting")
    shown = capsys.readouterr().out
    assert shown.index("-    core: true") < shown.index("linear can't be told") < shown.index("is written")
    assert path.read_text(encoding="utf-8") == converted(OLD)
    assert (root / upgrading.BACKUP).read_text(encoding="utf-8") == OLD
    assert upgrading.upgrade(root, dry_run=False)["changes"] == []
    assert (root / upgrading.BACKUP).read_text(encoding="utf-8") == OLD


def test_faults_that_remain_leave_the_file_as_it_is(root: Path) -> None:
    text = edited(("    lr: 0.1\n", "    lr: none\n"))
    (root / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"jobs\.resnet\.lr"):
        upgrading.upgrade(root, dry_run=False)
    assert (root / "params.yaml").read_text(encoding="utf-8") == text
    assert list((root / ".work").glob("*params*")) == []


def git(root: Path, *words: str, fails: bool = False) -> None:
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *settings, *words], cwd=root, capture_output=True, check=False)
    assert (done.returncode != 0) == fails, done.stderr


MINE = edited(("roster: core", "roster: [core, mine]"), ("\n  lenet5:", f"{OWN}\n  lenet5:"))


@pytest.fixture
def pulled(root: Path) -> Path:
    """A repository with the old file, `main` with the user's changes, and `new` with the file of this version."""
    git(root, "init", "-q")

    def commit(text: str) -> None:
        (root / "params.yaml").write_text(text, encoding="utf-8")
        git(root, "add", "params.yaml")
        git(root, "commit", "-qm", "change")

    commit(OLD)
    git(root, "checkout", "-qb", "new")
    commit((ROOT / "params.yaml").read_text(encoding="utf-8"))
    git(root, "checkout", "-q", "main")
    commit(MINE)
    return root


@pytest.mark.parametrize("how", [["merge", "-q", "new"], ["rebase", "-q", "new"]], ids=" ".join)
def test_a_conflict_is_resolved_with_the_user_s_side(
    how: list[str], pulled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(pulled, *how, fails=True)
    assert "<<<<<<< " in (pulled / "params.yaml").read_text(encoding="utf-8")
    with pytest.raises(UserError, match="conflict markers"):
        params.read(pulled / "params.yaml")
    upgrading.upgrade(pulled, dry_run=False)
    assert (pulled / "params.yaml").read_text(encoding="utf-8") == converted(MINE)
    assert (pulled / upgrading.BACKUP).read_text(encoding="utf-8") == MINE
    assert "yours is taken" in capsys.readouterr().out


def test_stashed_changes_are_the_user_s_side_too(pulled: Path) -> None:
    git(pulled, "checkout", "-q", "main~1")
    (pulled / "params.yaml").write_text(MINE, encoding="utf-8")
    git(pulled, "stash", "-q")
    git(pulled, "checkout", "-q", "new")
    git(pulled, "stash", "pop", "-q", fails=True)
    assert upgrading.read(pulled)[0] == MINE


def test_markers_without_git_are_an_error_with_a_remedy(root: Path) -> None:
    (root / "params.yaml").write_text(f"<<<<<<< HEAD\n{OLD}=======\n>>>>>>> new\n", encoding="utf-8")
    with pytest.raises(UserError, match="git show ORIG_HEAD"):
        upgrading.upgrade(root, dry_run=False)


def history(root: Path) -> dict[str, list[Any]]:
    """What MLflow and DVC's outputs say of the project's runs and its champion."""
    queries = {
        "champion": "SELECT name, version FROM registered_model_aliases WHERE alias = 'champion'",
        "versions": "SELECT name, version, run_id FROM model_versions ORDER BY version",
        "runs": "SELECT run_uuid, name, status FROM runs ORDER BY start_time",
        "metrics": "SELECT run_uuid, key, value, step FROM metrics ORDER BY run_uuid, key, step",
    }
    with closing(sqlite3.connect(root / "mlruns/mlflow.db")) as database:
        rows = {name: database.execute(query).fetchall() for name, query in queries.items()}
    return {**rows, "metrics file": [store.read_json(root / "metrics/leaves-linear.json")]}


@pytest.mark.slow
def test_a_project_of_the_version_before_goes_on(tmp_path: Path) -> None:
    """Upgraded, then run twice: its job trains once, and its champion and history are still there."""
    root = tmp_path / "project"
    lay_out(root)
    before = history(root)
    assert (len(before["runs"]), len(before["versions"])) == (2, 2)
    assert before["champion"] == [("leaves-classification", 1)]

    shown = run(root, "convline", "upgrade")
    assert shown.index("leaves-linear trains anew") < shown.index("is written")
    assert history(root) == before
    text = (root / "params.yaml").read_text(encoding="utf-8")
    assert "  # My first job.\n  leaves-linear:\n    task: classification\n" in text
    assert list(params.read(root / "params.yaml").selected()) == ["leaves-linear"]
    assert "nothing to do" in run(root, "convline", "upgrade")

    assert "1 of 1 jobs to train: leaves-linear" in run(root, "convline", "run")
    after = history(root)
    assert len(after["runs"]) == 3
    for part in ("runs", "versions", "metrics"):
        assert set(before[part]) <= set(after[part])
    assert after["champion"] == before["champion"]  # the same settings and images, so nothing better

    model = store.manifest(root / "models/leaves-linear")
    assert "to train" not in run(root, "convline", "run")
    assert store.manifest(root / "models/leaves-linear") == model
    assert len(history(root)["runs"]) == 3
