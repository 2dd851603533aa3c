"""A folder of each format becomes a dataset and jobs that `prepare` accepts; what fails leaves all as it was."""

import itertools
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from convline import raw
from convline.adding import Wishes, add
from pipeline import params
from pipeline.errors import UserError
from pipeline.prepare import stage as prepare
from pipeline.sample import facts
from pipeline.train import estimate
from tests.helpers import folders
from tests.helpers.folders import FOLDERS

PARAMS = """# mine
roster: [linear]
datasets:
  digits: {format: digits}  # embedded

jobs:
  linear: {task: classification, architecture: linear, dataset: digits, size: 8}

# the end
train: {attempts: 2}
"""
TASKS = {
    "coco": ["detection", "instance_segmentation"],
    "csv": ["classification"],
    "idx": ["classification"],
    "image_folder": ["classification"],
    "mask_png": ["segmentation"],
    "voc": ["detection"],
    "yolo": ["detection"],
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with DVC's part left out: it is tested once, below."""
    folder = tmp_path / "project"
    (folder / "data/raw").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "params.yaml").write_text(PARAMS)
    monkeypatch.setattr(raw, "dvc_add", lambda target, root: target.with_name(f"{target.name}.dvc").touch())
    return folder


def state(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".work" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("name", FOLDERS)
def test_each_format_becomes_a_dataset_that_prepare_accepts(
    name: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / f"my {name}"
    FOLDERS[name](source)
    before = state(source)
    add(source, root)
    known = params.read(root / "params.yaml")
    dataset = known.datasets[f"my-{name}"]
    assert (dataset.format, dataset.path) == (name, f"data/raw/my-{name}")
    assert state(source) == before == state(root / "data/raw" / f"my-{name}")
    new = {job for job in known.jobs if job != "linear"}
    assert sorted({known.jobs[job].task for job in new}) == TASKS[name]
    assert new <= set(known.selected())
    said = capsys.readouterr().out
    assert "extensions mixed" not in said
    assert f"to look at before training: reports/data/my-{name}.png\n" in said
    with Image.open(root / f"reports/data/my-{name}.png") as picture:
        assert picture.width > 4 * 240
    prepare.run(known, root)
    assert f"my-{name}: restored" in capsys.readouterr().out  # what was read is not read again
    assert facts(root / f"data/prepared/my-{name}").format == name


def test_what_was_read_is_what_prepare_reads(root: Path, tmp_path: Path) -> None:
    """The control of the test above: made anew it has the same bytes."""
    folders.voc(tmp_path / "cells")
    add(tmp_path / "cells", root)
    known = params.read(root / "params.yaml")
    prepare.run(known, root)
    kept = state(root / "data/prepared/cells")
    shutil.rmtree(root / ".work")
    shutil.rmtree(root / "data/prepared")
    prepare.run(known, root)
    assert state(root / "data/prepared/cells") == kept


def test_only_lines_are_added_to_params(root: Path, tmp_path: Path) -> None:
    folders.image_folder(tmp_path / "pets")
    add(tmp_path / "pets", root)
    text = (root / "params.yaml").read_text()
    assert (
        "  digits: {format: digits}  # embedded\n  pets: {format: image_folder, path: data/raw/pets}\n\njobs:" in text
    )
    lines = iter(text.splitlines())
    assert all(line in lines for line in PARAMS.replace("[linear]", "[linear, pets]").splitlines())


def test_a_dry_run_shows_the_lines_and_does_nothing(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders.image_folder(tmp_path / "pets")
    before = state(root)
    added = add(tmp_path / "pets", root, Wishes(dry_run=True))
    assert "+  pets: {format: image_folder, path: data/raw/pets}" in added["diff"]
    assert (added["name"], added["images"], added["tasks"]) == ("pets", 10, ["classification"])
    assert {"pets-lenet5", "pets-resnet"} == set(added["jobs"])
    shown = capsys.readouterr().out
    assert "10 images (train 6, val 2, test 2), 32×32 pixels" in shown
    assert "2 classes: cat, dog" in shown
    assert state(root) == before
    assert not list((root / ".work").glob("add-*")) + list((root / ".work").glob("prepare/*"))


def test_a_folder_of_data_raw_stays_where_it_is(root: Path) -> None:
    folders.image_folder(root / "data/raw/all/pets")
    add(root / "data/raw/all/pets", root)
    assert params.read(root / "params.yaml").datasets["pets"].path == "data/raw/all/pets"
    assert [path.name for path in (root / "data/raw").iterdir()] == ["all"]


def test_a_second_time_and_a_taken_name_are_refused(root: Path, tmp_path: Path) -> None:
    folders.image_folder(tmp_path / "pets")
    add(tmp_path / "pets", root)
    before = state(root)
    for path, name, reason in (
        (tmp_path / "pets", None, "data/raw/pets is there already, as datasets.pets"),
        (root / "data/raw/pets", "others", "data/raw/pets is there already, as datasets.pets"),
        (tmp_path / "pets", "digits", "datasets.digits is there already"),
        (tmp_path / "pets", "../up", "letters, digits"),
    ):
        with pytest.raises(UserError, match=reason):
            add(path, root, Wishes(name=name))
    (root / "data/raw/left").mkdir()
    with pytest.raises(UserError, match="data/raw/left: is there already"):
        add(tmp_path / "pets", root, Wishes(name="left"))
    (root / "data/raw/left").rmdir()
    assert state(root) == before
    add(tmp_path / "pets", root, Wishes(name="others"))


def test_faulty_images_are_counted_and_left_out_if_asked(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "pets"
    folders.image_folder(source)
    (source / "train/cat/torn.png").write_bytes((source / "train/cat/0.png").read_bytes()[:200])
    (source / "train/cat/2.png").rename(source / "train/cat/2.PNG")
    before = state(root)
    with pytest.raises(UserError, match="1 fault, listed above; nothing was changed") as refused:
        add(source, root)
    assert f"keep 10 images by `on_bad: skip`:\n  convline add {source} --on-bad skip" in str(refused.value)
    printed = capsys.readouterr()
    assert "data/raw/pets/train/cat/torn.png: damaged image" in printed.err
    assert "extensions mixed: 9 .png, 1 .PNG" in printed.out
    assert state(root) == before
    add(source, root, Wishes(on_bad="skip"))
    known = params.read(root / "params.yaml")
    assert known.datasets["pets"].on_bad == "skip"
    prepare.run(known, root)
    assert len(facts(root / "data/prepared/pets").skipped) == 1


def test_many_faults_are_reported_once_and_skipping_them_is_not_proposed(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "pets"
    folders.image_folder(source)
    for number in range(4):
        (source / f"train/cat/torn{number}.png").write_bytes(b"")
    with pytest.raises(UserError, match="4 faults, listed above; nothing was changed") as refused:
        add(source, root)
    assert "skip" not in str(refused.value)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "torn" in line]
    assert "torn0.png: the file is empty" in line
    assert line.endswith("(and 3 more like it, up to data/raw/pets/train/cat/torn3.png)")


def test_the_command_that_skips_keeps_what_was_given_and_can_be_pasted(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "my pets"
    folders.image_folder(source)
    (source / "train/cat/torn.png").write_bytes(b"")
    wishes = Wishes(name="animals", format="image_folder", options=[r"group: '/(\d)\.'", "splits: true"], dry_run=True)
    with pytest.raises(UserError) as refused:
        add(source, root, Wishes(format="image_folder", options=[r"group: '(cat|dog|\w+)/'"], dry_run=True))
    words = shlex.split(str(refused.value).splitlines()[-1])
    given = ["--format", "image_folder", "--option", r"group: '(cat|dog|\w+)/'", "--on-bad", "skip", "--dry-run"]
    assert words == ["convline", "add", str(source), *given]
    words = shlex.split(wishes.with_skip(source))
    assert words[3:7] == ["--name", "animals", "--format", "image_folder"]
    assert [words[at + 1] for at, word in enumerate(words) if word == "--option"] == list(wishes.options)


def test_one_class_is_refused_and_so_is_a_setting_that_is_no_option(root: Path, tmp_path: Path) -> None:
    for number in range(30):
        folders.picture(tmp_path / f"pets/cat/{number}.png", number)
    before = state(root)
    with pytest.raises(UserError, match=r"30 images in cat alone.*two or more(.|\n)*--format unlabeled"):
        add(tmp_path / "pets", root)
    with pytest.raises(UserError, match=r"one class, cat.*nothing to learn.*another class"):
        add(tmp_path / "pets", root, Wishes(format="image_folder"))
    with pytest.raises(UserError, match=r"'seed' is a setting of the dataset.*params\.yaml.*seed: 3"):
        add(tmp_path / "pets", root, Wishes(format="image_folder", options=["seed: 3"]))
    assert state(root) == before
    added = add(tmp_path / "pets", root, Wishes(format="unlabeled"))
    assert (added["tasks"], list(added["jobs"])) == (["generation"], ["pets-dcgan"])
    assert params.read(root / "params.yaml").datasets["pets"].format == "unlabeled"


def test_a_few_images_are_refused_with_a_remedy_that_add_allows(root: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png")):
        folders.picture(tmp_path / f"pets/{name}", number)
    with pytest.raises(UserError) as refused:
        add(tmp_path / "pets", root)
    assert "folders train, val and test" in str(refused.value)
    assert "seed" not in str(refused.value)


def test_names_that_are_too_long_are_refused_before_anything_is_read(root: Path, tmp_path: Path) -> None:
    source = tmp_path / ("n" * 200)
    folders.image_folder(source)
    with pytest.raises(UserError, match=r"at most 64 letters.*--name"):
        add(source, root)
    add(source, root, Wishes(name="short"))
    inside = root / "data/raw" / ("n" * 253)
    folders.image_folder(inside)
    with pytest.raises(UserError, match=r"too long for the file .*dvc"):
        add(inside, root, Wishes(name="other"))


def test_a_class_whose_name_is_a_caption_is_refused(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "pets"
    folders.csv(source)
    table = source / "labels.csv"
    table.write_text(table.read_text().replace(",dog,", f",{'a dog that runs ' * 20},"))
    with pytest.raises(UserError, match=r"class a dog that runs .*letters, more than 200"):
        add(source, root, Wishes(on_bad="skip"))


def test_of_a_folder_that_no_format_knows_is_said_what_each_reads(root: Path, tmp_path: Path) -> None:
    folders.picture(tmp_path / "loose/1.png", 1)
    (tmp_path / "loose/notes.json").write_text("{}")
    with pytest.raises(UserError, match="no format recognises this folder of 2 files") as refused:
        add(tmp_path / "loose", root)
    for name in FOLDERS:
        assert f"\n  {name}: " in str(refused.value)
    assert "here: .: has no annotation (*.xml). Give the folder that contains Annotations" in str(refused.value)
    assert "here: 1.png: an image outside any class folder. Move it into one." in str(refused.value)
    folders.image_folder(tmp_path / "outer/inner")
    with pytest.raises(UserError, match=r"Its folder inner looks like image_folder: convline add .*/outer/inner$"):
        add(tmp_path / "outer", root)


def test_between_two_formats_the_user_says(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "pets"
    folders.image_folder(source)
    files = sorted(path for path in source.rglob("*.png"))
    lines = [f"{file.relative_to(source)},{file.parent.name},{file.parts[-3]}" for file in files]
    (source / "labels.csv").write_text("\n".join(["file,label,split", *lines]))
    with pytest.raises(UserError, match=r"could be csv or image_folder\..* --format"):
        add(source, root)
    add(source, root, Wishes(format="csv"))
    assert params.read(root / "params.yaml").datasets["pets"].format == "csv"


def test_options_are_read_and_checked(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "cells"
    folders.voc(source)
    for option, reason in (("first_pixel", "is not of the form"), ("first: 0", "did you mean 'first_pixel'")):
        with pytest.raises(UserError, match=reason):
            add(source, root, Wishes(options=[option]))
    with pytest.raises(UserError, match="no format is named 'vok'; did you mean 'voc'"):
        add(source, root, Wishes(format="vok"))
    add(source, root, Wishes(options=["first_pixel: 0"]))
    assert params.read(root / "params.yaml").datasets["cells"].options == {"first_pixel": 0}


ODD = {
    "folder": (b"train/k\xe4fer", r"train/k\xe4fer: its name holds bytes that are no UTF-8 (\xe4). Rename it."),
    "file": (b"train/cat/\xdf.png", r"train/cat/\xdf.png: its name holds bytes that are no UTF-8 (\xdf). Rename it."),
    "escape": (
        b"train/cat/\x1b[2J.png",
        r"train/cat/\x1b[2J.png: its name holds control characters (\x1b). Rename it.",
    ),
    "line": (b"train/a\n0 faults", r"train/a\x0a0 faults: its name holds control characters (\x0a). Rename it."),
}


@pytest.mark.parametrize("name", ODD)
def test_names_that_are_no_text_or_that_a_terminal_obeys_are_faults_and_left_out(
    name: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "pets"
    folders.image_folder(source)
    odd = source / os.fsdecode(ODD[name][0])
    if odd.suffix:
        folders.picture(source / "new.png", 900).rename(odd)
    else:
        odd.mkdir()
        folders.picture(odd / "new.png", 900)
    if not odd.suffix:  # without a folder a class would be missing
        with pytest.raises(UserError) as refused:
            add(source, root, Wishes(on_bad="skip"))
        assert ODD[name][1] in str(refused.value)
        return
    with pytest.raises(UserError, match="1 fault, listed above"):
        add(source, root)
    assert ODD[name][1] in capsys.readouterr().err
    add(source, root, Wishes(on_bad="skip"))
    known = params.read(root / "params.yaml")
    prepare.run(known, root)
    kept = facts(root / "data/prepared/pets")
    assert (kept.classes, sum(kept.counts.values())) == (("cat", "dog"), 10)
    taken = [path.name for path in (root / "data/raw/pets").rglob("*")]
    assert all(text.encode(errors="ignore").decode() == text for text in taken)  # DVC takes no others


def test_classes_whose_names_are_no_text_are_refused(root: Path, tmp_path: Path) -> None:
    for number, (name, shown) in enumerate(
        {"\ud800": r"\ud800", "\x1b[2J\n0": r"\x1b[2J\x0a0", "\u202e": r"\u202e"}.items()
    ):
        source = tmp_path / f"coco{number}"
        folders.coco(source)
        for path in source.glob("*/*.json"):
            path.write_text(path.read_text().replace('"cat"', json.dumps(f"cat{name}")))
        with pytest.raises(UserError) as refused:
            add(source, root, Wishes(on_bad="skip"))
        assert f"class cat{shown}: its name holds" in str(refused.value)
        assert "Rename the class in the raw data." in str(refused.value)
    odd = tmp_path / "a\x1b[2J"
    folders.image_folder(odd)
    with pytest.raises(UserError, match=r"a\\x1b\[2J: its name holds control characters"):
        add(odd, root)


def test_paths_that_can_not_be_a_dataset(root: Path, tmp_path: Path) -> None:
    archive = tmp_path / "pets.zip"
    archive.touch()
    for path, reason in (
        (archive, "an archive. Move it into a folder of its own, such as .*/pets, and add that"),
        (root / "params.yaml", "not a folder"),
        (tmp_path / "none", "no such folder"),
        (root, "holds the project's own data/raw"),
        (root / "data/raw", "holds the project's own data/raw"),
    ):
        with pytest.raises(UserError, match=reason):
            add(path, root)


def test_a_failure_of_dvc_leaves_nothing_behind(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders.image_folder(tmp_path / "pets")

    def fail(target: Path, root: Path) -> None:
        target.with_name("pets.dvc").touch()
        target.with_name(".gitignore").write_text("/pets\n")
        raise UserError("no room")

    before = state(root)
    monkeypatch.setattr(raw, "dvc_add", fail)
    with pytest.raises(UserError, match="no room"):
        add(tmp_path / "pets", root)
    assert state(root) == before
    assert not list((root / "data/raw").iterdir())


def test_files_that_may_only_be_read_are_copied_to_be_written(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "pets"
    folders.image_folder(source)
    for path in source.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    add(source, root)
    assert all(path.stat().st_mode & 0o200 for path in (root / "data/raw/pets").rglob("*"))
    assert not any(path.stat().st_mode & 0o200 for path in source.rglob("*"))


def test_dvc_takes_it(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, check=True, capture_output=True)
    folders.image_folder(tmp_path / "pets")
    add(tmp_path / "pets", root)
    assert "path: pets" in (root / "data/raw/pets.dvc").read_text()
    assert (root / "data/raw/.gitignore").read_text() == "/pets\n"
    assert list((root / ".dvc/cache").rglob("*.dir"))


def test_the_reason_of_dvc_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    with pytest.raises(UserError, match=r"failed, and nothing was added: you are not inside of a DVC repository"):
        raw.dvc_add(tmp_path / "pets", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["pets"]


def test_where_dvc_can_not_work_nothing_is_read(root: Path, tmp_path: Path) -> None:
    (root / ".git").rmdir()
    with pytest.raises(UserError, match=r"is not in a git repository, which DVC needs\. Run `git init` there"):
        add(tmp_path / "pets", root)
    assert not (root / ".work").exists()


@pytest.mark.parametrize(
    "sections", ["datasets: {}\njobs: {}\n", "datasets:\njobs:  # none yet\n", "jobs: {}\ndatasets:"]
)
@pytest.mark.parametrize("roster", ["all", "core", "[core, linear]", "[]", "\n- core"])
def test_the_first_entry_of_a_project(root: Path, tmp_path: Path, sections: str, roster: str) -> None:
    (root / "params.yaml").write_text(f"roster: {roster}\n{sections}")
    with pytest.raises(UserError, match=r"jobs: there is none\. `convline add FOLDER` makes the first") as refused:
        params.read(root / "params.yaml")
    assert len(str(refused.value).splitlines()) == 1
    source = tmp_path / "pets"
    FOLDERS["image_folder"](source)
    add(source, root)
    made = params.read(root / "params.yaml")
    assert list(made.datasets) == ["pets"]
    assert made.selected()


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_format_is_proposed_only_if_it_can_read_the_folder(is_readable: bool, root: Path, tmp_path: Path) -> None:
    """Numbers may be classes after all; two labels of one image are more than a format reads."""
    rows = [f"{at}.png,{at * 1.5 if is_readable else label}" for at in range(12) for label in ("cat", "dog")]
    for number in range(12):
        folders.picture(tmp_path / "table" / f"{number}.png", number)
    (tmp_path / "table/labels.csv").write_text("\n".join(["image,label", *rows]))
    with pytest.raises(UserError, match="not supported") as error:
        add(tmp_path / "table", root)
    assert ("--format csv" in str(error.value)) == is_readable


def test_a_folder_with_an_archive_alone_is_added_as_it_is(root: Path, tmp_path: Path) -> None:
    folders.voc(tmp_path / "cells")
    (tmp_path / "packed").mkdir()
    shutil.make_archive(str(tmp_path / "packed/cells"), "zip", tmp_path / "cells")
    assert add(tmp_path / "packed", root)["dataset"] == {"format": "voc", "path": "data/raw/packed"}
    assert [path.name for path in (root / "data/raw/packed").iterdir()] == ["cells.zip"]
    known = params.read(root / "params.yaml")
    prepare.run(known, root)
    assert facts(root / "data/prepared/packed").counts == folders.COUNTS
    shutil.make_archive(str(tmp_path / "odd/odd"), "tar", tmp_path / "cells/Annotations")
    with pytest.raises(UserError, match=f"{tmp_path}/odd: ") as error:
        add(tmp_path / "odd", root)
    assert ".work" not in str(error.value)


def test_published_weights_are_proposed_first_with_the_time_that_they_take(root: Path, tmp_path: Path) -> None:
    """A file in weights/ that is named as its network; each job's reason and expected time stand above it."""
    folders.image_folder(tmp_path / "pets")
    (root / "weights").mkdir()
    (root / "weights/resnet18.safetensors").touch()
    added = add(tmp_path / "pets", root, Wishes(minutes=5))
    first = next(iter(added["jobs"].values()))
    assert (first["architecture"], first["epochs"]) == ("frozen_features", 0)
    assert first["pretrained"] == {"file": "weights/resnet18.safetensors"}
    text = (root / "params.yaml").read_text()
    (above,) = (before for before, line in itertools.pairwise(text.splitlines()) if line == "  pets-frozen:")
    assert above.startswith("  # ")
    assert "weights/resnet18.safetensors" in above
    assert "on this machine" in above
    assert estimate.read(root).keys() == added["jobs"].keys()
    folders.image_folder(tmp_path / "more")
    tuned = add(tmp_path / "more", root, Wishes(preset="good"))["jobs"]["more-tuned"]
    assert (tuned["architecture"], tuned["pretrained"]) == ("timm", first["pretrained"])
    (root / "weights/resnet18.safetensors").rename(root / "weights/resnet-18.safetensors")
    folders.image_folder(tmp_path / "others")
    with pytest.raises(UserError, match=r"weights/resnet-18\.safetensors.*resnet18"):
        add(tmp_path / "others", root)
