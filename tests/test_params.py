"""params.yaml is checked whole before any work starts: every fault, its place, and the near match."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline import params
from pipeline.errors import UserError
from pipeline.params import UNDECISIVE, Job, Params
from tests.helpers import support

ROOT = Path(params.__file__).parents[1]
GOOD = """
roster: core
sets: {core: [first]}
datasets:
  digits: {format: digits}
  mine: {format: image_folder, path: data/raw/mine, split: {val: 0.1}}
augmentation:
  light: {online: [{shift: {limit: 0.1}}], staged: {copies: 1, transforms: [{noise: {}}]}}
jobs:
  first: {task: classification, architecture: linear, dataset: digits}
  second: {task: classification, architecture: lenet5, dataset: mine, augmentation: light, lr: 1}
train: {attempts: 2}
evaluate: {resamples: 200}
"""


def read(path: Path, text: str) -> Params:
    file = path / "params.yaml"
    file.write_text(text)
    return params.read(file)


def faults(path: Path, text: str) -> list[str]:
    """The lines of the error, without the file's name, which each must begin with."""
    with pytest.raises(UserError) as told:
        read(path, text)
    lines = str(told.value).splitlines()
    start = f"{path / 'params.yaml'}: "
    assert all(line.startswith(start) for line in lines)
    return [line.removeprefix(start) for line in lines]


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_the_good_example_is_good(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert found.datasets["mine"].split.val == 0.1
    assert found.policy("light").staged.copies == 1
    assert found.jobs["first"].policy == "none"
    assert found.policy("none").online == []


#: what is changed in the good example → the one line that tells it
FAULTS = {
    "top": ("train: {attempts: 2}", "trian: {}", "trian: no setting is named 'trian'; did you mean 'train'?"),
    "dataset": ("format: digits}", "format: digits, sed: 1}", "datasets.digits.sed: * did you mean 'seed'?"),
    "split": ("{val: 0.1}", "{vall: 0.1}", "datasets.mine.split.vall: * did you mean 'val'? There are: test, val."),
    "policy": ("{online: ", "{onlin: [], online: ", "augmentation.light.onlin: * did you mean 'online'?"),
    "staged": ("copies: 1", "copys: 1", "augmentation.light.staged.copys: * did you mean 'copies'?"),
    "job": ("lr: 1}", "learning_rate: 1}", "jobs.second.learning_rate: no setting is named 'learning_rate'*"),
    "train": ("attempts: 2", "atempts: 2", "train.atempts: * did you mean 'attempts'?"),
    "evaluate": ("resamples: 200", "resample: 200", "evaluate.resample: * did you mean 'resamples'?"),
    "architecture": ("architecture: lenet5", "architecture: lenet", "jobs.second.architecture: * mean 'lenet5'?"),
    "task": ("first: {task: classification", "first: {task: clasification", "jobs.first.task: * 'classific"),
    "dataset name": ("dataset: mine", "dataset: mein", "jobs.second.dataset: no dataset is named 'mein'* 'mine'?"),
    "policy name": ("augmentation: light,", "augmentation: lite,", "jobs.second.augmentation: * mean 'light'?"),
    "format": ("format: image_folder", "format: imagefolder", "datasets.mine.format: * mean 'image_folder'?"),
    "transform": ("[{shift:", "[{shfit:", "augmentation.light.online.0: no transform is named 'shfit'* 'shift'?"),
    "staged transform": ("{noise: {}}", "{nose: {}}", "augmentation.light.staged.transforms.0: * mean 'noise'?"),
    "transform option": ("{limit: 0.1}", "{limt: 0.1}", "augmentation.light.online.0: no option* mean 'limit'?"),
    "format option": ("format: digits", "format: digits, options: {x: 1}", "datasets.digits.options: no option is*"),
    "model option": ("lr: 1}", "options: {varant: paper}}", "jobs.second.options: * did you mean 'variant'?"),
    "loss option": ("lr: 1}", "loss: {smoothing: 1}}", "jobs.second.loss: * did you mean 'label_smoothing'?"),
    "two transforms": ("{limit: 0.1}}", "{}, noise: {}}", "augmentation.light.online.0: one transform an entry*2."),
    "no transform": ("{noise: {}}", "noise", "augmentation.light.staged.transforms.0: Input should be a valid dic"),
    "roster": (
        "roster: core",
        "roster: [first, secnd]",
        "roster: no job, data set, study or set of jobs is named 'secnd'; did you mean",
    ),
    "empty roster": ("roster: core", "roster: []", "roster: [] selects no job."),
    "empty set": ("{core: [first]}", "{core: []}", "roster: core selects no job. Write `all`, or names among: first"),
    "roster word": ("roster: core", "roster: moore", "roster: no job, data set, study or set of jobs is named 'moore'"),
    "word of a set": ("[first]", "[first, frst]", "sets.core: no job, data set, * did you mean 'first'?"),
    "set and job": ("{core: [first]}", "{core: [first], second: []}", "sets.second: the name means a job in a roster."),
    "set and all": ("{core: [first]}", "{core: [first], all: []}", "sets.all: the name means all jobs in a roster."),
    "text": ("lr: 1}", "lr: fast}", "jobs.second.lr: Input should be a valid number (found 'fast')."),
    "quoted": ("lr: 1}", "lr: '0.1'}", "jobs.second.lr: Input should be a valid number (found '0.1')."),
    "negative": ("lr: 1}", "lr: -1}", "jobs.second.lr: Input should be greater than 0 (found -1)."),
    "infinite": ("lr: 1}", "lr: .inf}", "jobs.second.lr: Input should be a finite number (found inf)."),
    "fraction": ("lr: 1}", "epochs: 1.5}", "jobs.second.epochs: Input should be a valid integer (found 1.5)."),
    "no is text": ("lr: 1}", "nesterov: no}", "jobs.second.nesterov: Input should be a valid boolean (found 'no')."),
    "workers": ("lr: 1}", "workers: 0}", "jobs.second.workers: Input should be greater than 0 (found 0)."),
    "worker_groups": (
        "attempts: 2",
        "worker_groups: 0",
        "train.worker_groups: Input should be greater than 0 (found 0).",
    ),
    "choice": ("lr: 1}", "schedule: linear}", "jobs.second.schedule: Input should be 'constant', 'cosine'*"),
    "not JSON": ("lr: 1}", "options: {variant: 2026-01-01}}", "jobs.second.options.variant: input was not a valid JS"),
    "missing": ("dataset: mine, ", "", "jobs.second.dataset: missing. Add it."),
    "missing format": ("format: digits", "", "datasets.digits.format: missing. Add it."),
    "outside": ("path: data/raw/mine", "path: /data/mine", "datasets.mine.path: '/data/mine' is not under data/raw/."),
    "dots": ("path: data/raw/mine", "path: data/raw/../mine", "datasets.mine.path: * is not under data/raw/."),
    "milestones": ("lr: 1}", "schedule: step}", "jobs.second.milestones: schedule step needs epochs"),
    "nesterov": ("lr: 1}", "nesterov: true, momentum: 0}", "jobs.second.nesterov: needs momentum"),
    "job name": ("second:", "a.b:", "jobs.a.b: names become folders"),
    "job path": ("second:", "../second:", "jobs.../second: names become folders"),
    "number name": ("second:", "2:", "jobs.2: Input should be a valid string (found 2)."),
}


def test_what_is_not_yaml_or_not_there_names_the_file(tmp_path: Path) -> None:
    (line,) = faults(tmp_path, "jobs: [1\n")
    assert line.startswith("not valid YAML.")
    assert "Line 2" in line
    assert faults(tmp_path, "") == faults(tmp_path, "- 1") == ["holds no sections. Give at least datasets and jobs."]
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UserError, match=str(path)):
            params.read(path)
    (tmp_path / "params.yaml").write_bytes(b"jobs: \xff\xfe")
    with pytest.raises(UserError, match=r"params\.yaml: not valid YAML"):
        params.read(tmp_path / "params.yaml")


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_reported_alone_with_its_path(name: str, tmp_path: Path) -> None:
    old, new, told = FAULTS[name]
    (line,) = faults(tmp_path, changed(old, new))
    start, *rest = told.split("*")
    assert line.startswith(start)
    assert all(part in line for part in rest)


def test_all_faults_are_reported_at_once_each_on_its_line(tmp_path: Path) -> None:
    text = GOOD
    for name in ("dataset", "format", "transform", "staged", "architecture", "loss option", "train", "dots", "roster"):
        old, new, _ = FAULTS[name]
        assert text.count(old) == 1, name
        text = text.replace(old, new.replace("}}", "}, epochs: -1, batch: x}") if name == "loss option" else new)
    lines = faults(tmp_path, text)
    assert sorted(line.split(": ")[0] for line in lines) == sorted(
        [
            "augmentation.light.online.0",
            "augmentation.light.staged.copys",
            "datasets.digits.sed",
            "datasets.mine.format",
            "datasets.mine.path",
            "jobs.second.architecture",
            "jobs.second.batch",
            "jobs.second.epochs",
            "jobs.second.loss",
            "roster",
            "train.atempts",
        ]
    )


def test_one_fault_brings_no_false_ones(tmp_path: Path) -> None:
    """An entry that can't be read is still a name that others may use."""
    roster = changed("roster: core", "roster: [second]").replace("dataset: mine, ", "")
    assert faults(tmp_path, roster) == ["jobs.second.dataset: missing. Add it."]
    assert len(faults(tmp_path, changed("first: {task", "first: {nesterov: 1, task"))) == 1
    assert len(faults(tmp_path, changed("lr: 1}", "schedule: step, milestones: 3}"))) == 1
    assert (
        len(faults(tmp_path, changed("{online: [{shift: {limit: 0.1}}], staged: ", "[{").replace("{}}]}}", "{}}]}]")))
        == 1
    )
    assert faults(tmp_path, "roster: all\njobs: {a: {}}") == [
        "datasets: missing. Add it.",
        *(f"jobs.a.{name}: missing. Add it." for name in ("task", "architecture", "dataset")),
    ]


def test_a_task_that_the_architecture_does_not_do(tmp_path: Path) -> None:
    (line,) = faults(tmp_path, GOOD.replace("architecture: linear", "architecture: unet"))
    assert line.startswith("jobs.first.task: unet does segmentation, not classification.")


SEGMENTER = """
roster: all
datasets: {cells: {format: scenes, derived: {border_weights: {sigma: 3}}}, bare: {format: scenes}}
augmentation: {copied: {staged: {copies: 1}}, border_weights: {}}
jobs:
  net: {task: segmentation, architecture: unet, dataset: cells, loss: {border_weights: true}}
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("dataset: cells", "dataset: bare", "jobs.net.loss.border_weights: bare has no border_weights. Write `derived"),
        ("_weights: true", "_weights: {w0: 5}", "jobs.net.loss.border_weights: {'w0': 5} is neither true nor false."),
        ("loss:", "augmentation: copied, loss:", "jobs.net.augmentation: staged copies have no border_weights. Put"),
        ("loss:", "augmentation: border_weights, loss:", "jobs.net.augmentation: dataset cells with augmentation bor"),
        ("{sigma:", "{sigmma:", "datasets.cells.derived.border_weights: no option is named 'sigmma'; did you mean"),
        ("d: {border", "d: {other: {}, border", "datasets.cells.derived.other: no derived field is named 'other'"),
    ],
)
def test_a_derived_field_that_is_not_there(old: str, new: str, told: str, tmp_path: Path) -> None:
    assert read(tmp_path, SEGMENTER).datasets["cells"].derived == {"border_weights": {"sigma": 3}}
    assert SEGMENTER.count(old) == 1
    (line,) = faults(tmp_path, SEGMENTER.replace(old, new))
    assert line.startswith(told)


def test_one_job_of_a_study_is_chosen_with_what_it_starts_from() -> None:
    chosen = params.read(ROOT / "params.yaml").choose(["identity.deepened.0"])
    assert set(chosen.selected()) == {"identity.deepened.0", "identity.shallow.0"}


DETECTOR = """
roster: all
datasets: {cells: {format: scenes, derived: {proposals: {mode: fast}}}, bare: {format: scenes}}
augmentation: {moved: {online: [{horizontal_flip: {}}, {scale: {}}, {noise: {}}]}, copied: {staged: {copies: 1}}}
jobs:
  net: {task: detection, architecture: fast_rcnn, dataset: cells, augmentation: moved}
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("dataset: cells", "dataset: bare", "jobs.net.architecture: bare has no proposals, which fast_rcnn needs. Wri"),
        ("moved}", "copied}", "jobs.net.augmentation: staged copies have no proposals. Put their transforms into `onl"),
        *[
            (
                "{noise: {}}",
                f"{{{name}: {{}}}}",
                f"jobs.net.augmentation: proposals can't follow {name}, of moved. Choo",
            )
            for name in ("rotation", "shear", "perspective", "elastic", "crop", "overlay")
        ],
    ],
)
def test_what_proposals_can_not_follow_is_refused(old: str, new: str, told: str, tmp_path: Path) -> None:
    assert read(tmp_path, DETECTOR).jobs["net"].policy == "moved"
    assert DETECTOR.count(old) == 1
    (line,) = faults(tmp_path, DETECTOR.replace(old, new))
    assert line.startswith(told)
    assert "rcnn" in line or "horizontal_flip, vertical_flip" in line or "online" in line


def test_gradients_are_not_measured_without_the_weights(tmp_path: Path) -> None:
    study = "{question: q, paper: p, claims: [a > b], gradients: true, variants: {a: {}, b: {lr: 1}}, base: {"
    base = "task: segmentation, architecture: unet, dataset: cells, loss: {border_weights: true}}}"
    (line,) = faults(tmp_path, f"{SEGMENTER}studies:\n  s: {study}{base}\n")
    assert "gradients are measured without border_weights. Set gradients to false." in line


def test_one_folder_has_one_owner(tmp_path: Path) -> None:
    job = "{task: classification, architecture: linear"
    text = f"""
datasets: {{a: {{format: digits}}, a-b: {{format: digits}}}}
augmentation: {{b-c: {{}}, c: {{}}}}
jobs:
  one: {job}, dataset: a, augmentation: b-c}}
  two: {job}, dataset: a-b, augmentation: c}}
  three: {job}, dataset: a, augmentation: b-c, epochs: 1}}
"""
    (line,) = faults(tmp_path, text)
    assert line.startswith("jobs.two.augmentation: dataset a-b with augmentation c and dataset a with")


def test_none_is_no_name_for_a_policy(tmp_path: Path) -> None:
    (line,) = faults(tmp_path, changed("  light: {online", "  none: {}\n  light: {online"))
    assert line.startswith("augmentation.none: none is what jobs without augmentation have.")
    assert read(tmp_path, changed("augmentation: light, ", "augmentation: none, ")).jobs["second"].policy == "none"


def test_yaml_is_1_2_as_dvc_reads_it(tmp_path: Path) -> None:
    found = read(tmp_path, changed("lr: 1}", "lr: 1e-3, epochs: 012}"))
    assert (found.jobs["second"].lr, found.jobs["second"].epochs) == (0.001, 12)
    assert list(read(tmp_path, changed("second:", "no:")).jobs) == ["first", "no"]
    (line,) = faults(tmp_path, changed("lr: 1}", "lr: 1, lr: 2}"))
    assert "duplicate key" in line
    assert "Line 11" in line


def test_the_roster_selects_in_the_order_of_the_file(tmp_path: Path) -> None:
    def selected(roster: str) -> list[str]:
        return list(read(tmp_path, changed("roster: core", f"roster: {roster}")).selected())

    assert selected("core") == ["first"]
    assert selected("all") == ["first", "second"]
    assert selected("[second]") == selected("mine") == ["second"]
    assert selected("[second, first]") == ["first", "second"]


def test_values_do_not_change(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    changes: list[tuple[Any, str]] = [(found, "roster"), (found.jobs["first"], "lr"), (found.datasets["mine"], "seed")]
    for owner, name in changes:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(owner, name, getattr(owner, name))


def test_what_does_not_decide_a_result_is_a_setting() -> None:
    assert set(Job.model_fields) >= UNDECISIVE
    assert not UNDECISIVE & {"seed", "lr", "epochs", "batch", "options"}


def test_the_shipped_roster_has_a_job_of_nearly_every_task() -> None:
    shipped = params.read(ROOT / "params.yaml")
    every, selected = shipped.jobs, shipped.selected()
    tasks = {job.task for job in every.values()} - {job.task for job in selected.values()}
    assert tasks == {"keypoint_detection"}, "core has all others; mask_rcnn's other head would take four minutes more"


def test_reading_imports_nothing_that_takes_seconds() -> None:
    program = "import sys; from pipeline import params; params.read(); print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = set(told.stdout.split())
    assert "pipeline.params" in modules
    assert not {"torch", "albumentations", "cv2", "numpy", "pyarrow", "ray", "mlflow", "prefect"} & modules


@pytest.mark.parametrize("staged", [False, True])
def test_a_transform_that_the_task_can_not_learn_from_is_refused(tmp_path: Path, staged: bool) -> None:
    mixup: list[dict[str, Any]] = [{"mixup": {}}]
    policies: dict[str, Any] = {"mix": {"staged": {"copies": 1, "transforms": mixup}} if staged else {"online": mixup}}
    job = {**support.LINEAR, "task": "segmentation", "augmentation": "mix"}
    with pytest.raises(UserError, match=r"jobs\.a\.augmentation: mixup serves classification, not segmentation"):
        support.write_params(tmp_path, {"a": job}, augmentation=policies)
    support.write_params(tmp_path, {"a": {"augmentation": "mix"}}, augmentation=policies)


def test_chosen_jobs_bring_those_they_start_from(tmp_path: Path) -> None:
    more = "  third: {task: classification, architecture: lenet5, dataset: digits, pretrained: {job: second}}\n"
    params_ = read(tmp_path, GOOD.replace("train: {att", more + "train: {att"))
    assert set(params_.choose(["third"]).selected()) == {"second", "third"}
    assert set(params_.choose(["first"]).selected()) == {"first"}
    with pytest.raises(UserError, match="is named 'frist'; did you mean 'first'"):
        params_.choose(["frist"])
