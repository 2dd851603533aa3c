"""params.yaml and params/ are one: entries are merged, `like` inherits, a file is a set, and faults name their file."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from convline import edit
from pipeline import params
from pipeline.errors import UserError

ROOT = Path(params.__file__).parents[1]
MINE = """
roster: core
sets: {core: [base, vgg]}
datasets: {digits: {format: digits}}
jobs:
  base: {task: classification, architecture: resnet, options: {depth: 20, width: 8}, dataset: digits, lr: 0.1}
"""
LINEAGE = """
augmentation: {light: {online: [{shift: {limit: 0.1}}]}}
jobs:
  deep: {like: base, options: {depth: 32}, augmentation: light}
  deeper: {like: deep, options: {depth: 44}, epochs: 3}
  vgg: {like: deeper, architecture: vgg}
"""


def read(path: Path, mine: str = MINE, **files: str) -> params.Params:
    (path / "params").mkdir(exist_ok=True)
    (path / "params.yaml").write_text(mine)
    for name, text in files.items():
        (path / "params" / f"{name}.yaml").write_text(text)
    return params.read(path / "params.yaml")


def faults(path: Path, mine: str = MINE, **files: str) -> list[str]:
    with pytest.raises(UserError) as error:
        read(path, mine, **files)
    return [line.removeprefix(f"{path}/") for line in str(error.value).splitlines()]


def test_like_inherits_and_options_merge_unless_the_architecture_changes(tmp_path: Path) -> None:
    settings = read(tmp_path, lineage=LINEAGE)
    deeper, vgg = settings.jobs["deeper"], settings.jobs["vgg"]
    assert (deeper.options, deeper.lr, deeper.epochs) == ({"depth": 44, "width": 8}, 0.1, 3)
    assert (deeper.augmentation, deeper.dataset) == ("light", "digits")
    assert (vgg.architecture, vgg.options, vgg.epochs) == ("vgg", {}, 3)
    assert settings.jobs["base"].options == {"depth": 20, "width": 8}


def test_the_order_is_that_of_the_files(tmp_path: Path) -> None:
    assert list(read(tmp_path, lineage=LINEAGE).jobs) == ["base", "deep", "deeper", "vgg"]


def test_a_file_is_a_set_and_a_set_may_name_others(tmp_path: Path) -> None:
    settings = read(tmp_path, MINE.replace("[base, vgg]", "[base, lineage]"), lineage=LINEAGE)
    assert list(settings.choose(["lineage"]).selected()) == ["deep", "deeper", "vgg"]
    assert list(settings.selected()) == ["base", "deep", "deeper", "vgg"]


def test_a_fault_names_the_file_and_the_job_that_has_the_setting(tmp_path: Path) -> None:
    assert faults(tmp_path, MINE.replace("lr: 0.1", "lr: fast"), lineage=LINEAGE) == [
        "params.yaml: jobs.base.lr: Input should be a valid number (found 'fast')."
    ]
    (line,) = faults(tmp_path, lineage=LINEAGE.replace("epochs: 3", "epoch: 3"))
    assert line.startswith("params/lineage.yaml: jobs.deeper.epoch: no setting is named 'epoch'")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            "like: deep,",
            "like: dep,",
            "params/lineage.yaml: jobs.deeper.like: no job is named 'dep'; did you mean 'deep'",
        ),
        ("{like: base,", "{like: vgg,", "is like deep. Break the circle."),
        ("jobs:", "train: {attempts: 1}\njobs:", "params/lineage.yaml: train: only datasets, augmentation"),
    ],
)
def test_what_can_not_be_merged_is_refused(old: str, new: str, fault: str, tmp_path: Path) -> None:
    assert LINEAGE.count(old) == 1
    lines = faults(tmp_path, lineage=LINEAGE.replace(old, new))
    assert any(fault in line for line in lines), lines


def test_an_entry_of_params_yaml_replaces_the_one_of_its_name(tmp_path: Path) -> None:
    mine = MINE + "  deep: {like: base, epochs: 7}\n"
    settings = read(tmp_path, mine, lineage=LINEAGE)
    assert (settings.jobs["deep"].epochs, settings.jobs["deep"].options["depth"]) == (7, 20)
    assert settings.jobs["deeper"].augmentation is None  # which only the replaced one has
    assert list(settings.choose(["lineage"]).selected()) == ["deep", "deeper", "vgg"]
    assert faults(tmp_path, mine.replace("epochs: 7", "epochs: few"), lineage=LINEAGE)[0].startswith(
        "params.yaml: jobs.deep.epochs: "
    )


def test_two_files_of_params_can_not_have_one_name(tmp_path: Path) -> None:
    (line,) = faults(tmp_path, lineage=LINEAGE, other="jobs:\n  deep: {like: base}\n")
    assert line.startswith(f"params/other.yaml: jobs.deep: {tmp_path}/params/lineage.yaml has it as well")


def test_dvc_changes_one_line_of_the_shipped_file(tmp_path: Path) -> None:
    """`dvc exp run -S` writes the whole file anew: lists as blocks, without the comments after them."""
    from dvc.utils.hydra import apply_overrides

    path = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    path.write_text(before, encoding="utf-8")
    apply_overrides(path, ["jobs.linear.lr=0.04"])
    assert path.read_text(encoding="utf-8") == before.replace("    lr: 0.05\n", "    lr: 0.04\n")
    assert len(before.splitlines()) <= 60


def test_dvc_changes_one_line_after_a_folder_was_added(tmp_path: Path) -> None:
    from dvc.utils.hydra import apply_overrides

    text = edit.insert((ROOT / "params.yaml").read_text(encoding="utf-8"), "datasets", "pets", {"format": "csv"})
    job: dict[str, Any] = {
        "task": "detection",
        "architecture": "faster_rcnn",
        "dataset": "pets",
        "options": {"anchors": [8, 16], "backbone_options": {"width": 32}},
    }
    job["options"]["levels"] = ["layer1", "layer2", "layer3", "layer4"]
    text = edit.append_to_roster(edit.insert(text, "jobs", "pets-faster_rcnn", job), "pets")
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    apply_overrides(path, ["jobs.linear.lr=0.04"])
    assert path.read_text(encoding="utf-8") == text.replace("    lr: 0.05\n", "    lr: 0.04\n")


@pytest.mark.parametrize("cleared", ["roster: core\ndatasets: {}\njobs: {}\n", "datasets:\njobs:\n"])
def test_a_file_that_was_cleared_is_reported_once_and_the_remedy_works(cleared: str, tmp_path: Path) -> None:
    (line,) = faults(tmp_path, cleared, lineage=LINEAGE)
    assert line.startswith("params.yaml: has no datasets and jobs")
    remedy = next(word for word in line.split("`") if word.startswith("for file in"))
    subprocess.run(["sh", "-c", remedy], check=True, cwd=tmp_path)
    assert params.read(tmp_path / "params.yaml", empty=True).jobs == {}
