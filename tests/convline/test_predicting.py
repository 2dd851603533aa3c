"""Every task answers about files as evaluate sees them: upright, RGB, at stored size first."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from convline.commands import predict as command
from convline.predicting import predict
from pipeline import checkpoint, images, params, plugins, sample, shards, store, terminal
from pipeline.errors import UserError
from pipeline.evaluate.predict import predictor, rows
from pipeline.plots.figures import RED
from pipeline.prepare import stage as prepare
from pipeline.sample import Facts
from tests.helpers import folders, support

FACTS = Facts(
    "x",
    ("cat", "dog"),
    ("background", "cat"),
    {"train": 2, "val": 1, "test": 1},
    (1, 1),
    (),
    {"1": [0.5], "3": [0.5] * 3},
    {"1": [0.25], "3": [0.25] * 3},
    keypoints=("nose", "tail"),
)
SMALL = {"backbone": "resnet", "backbone_options": {"depth": 20, "width": 4}}
DETECTOR = {**SMALL, "levels": ["layer2", "layer3"], "width": 8, "head_width": 8, "proposals": 8, "samples": 8}
JOBS: dict[str, dict[str, Any]] = {
    "classification": {"architecture": "linear", "size": 8, "channels": 1},
    "localization": {"architecture": "cam", "size": 32, "options": {**SMALL, "level": "layer2", "width": 8}},
    "segmentation": {"architecture": "unet", "size": 32, "options": {"width": 4, "depth": 2}},
    "detection": {"architecture": "faster_rcnn", "size": 64, "options": DETECTOR},
    "instance_segmentation": {"architecture": "mask_rcnn", "size": 64, "options": {**DETECTOR, "mask_width": 8}},
    "keypoint_detection": {
        "architecture": "mask_rcnn",
        "size": 64,
        "options": {**DETECTOR, "keypoint_width": 8, "keypoint_layers": 1},
    },
    "generation": {"architecture": "dcgan", "size": 32, "channels": 1, "options": {"width": 4, "latent": 8}},
}


def train(root: Path, name: str, facts: Facts, settings: dict[str, Any]) -> None:
    """Put an untrained model where a trained one would be."""
    job = params.Job.model_validate({"dataset": "digits", **settings})
    torch.manual_seed(0)
    description = checkpoint.describe(job, facts)
    with store.folder(root / "models" / name, f"mark-{name}") as path:
        checkpoint.save(path, checkpoint.build(description), description)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for task, settings in JOBS.items():
        train(folder, task, FACTS, {"task": task, **settings})
    support.write_params(folder, {"linear": {}})
    return folder


def ask(root: Path, model: str, *paths: Path, **given: Any) -> bool:
    return predict(root, model, paths, **{"number": 3, **given})


def answers(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("task", [task for task in JOBS if task != "generation"])
def test_every_task_answers_and_draws(task: str, root: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    folders.picture(pictures / "a/1.png", 1, 48)
    folders.picture(pictures / "b/1.png", 2, 20)
    assert ask(root, task, pictures, out=tmp_path / "out")
    found = answers((tmp_path / "out/predictions.jsonl").read_text())
    assert [record.pop("image") for record in found] == ["a/1.png", "b/1.png"]
    assert all(set(record) == set(plugins.constant("tasks", task, "OUTPUT")) for record in found)
    drawn = [images.decode(tmp_path / "out" / f"{name}/1.png.png") for name in "ab"]
    assert all(picture.std() > 0 for picture in drawn)
    assert not any((picture == RED).all(axis=2).any() for picture in drawn)  # nothing is wrong where nothing is known


def test_answers_are_those_of_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same images through prepare and evaluate, and as files: larger than max_side, grey, and turned by EXIF."""
    source = tmp_path / "data/raw/mine"
    folders.image_folder(source)
    known = support.write_params(
        tmp_path,
        {"mine": {"dataset": "mine", "size": 8, "channels": 3}},
        datasets={"mine": {"format": "image_folder", "path": "data/raw/mine", "max_side": 24}},
    )
    first, second = sorted((source / "test").rglob("*.png"))
    pixels = np.random.default_rng(5).integers(0, 256, (90, 60), dtype=np.uint8)
    Image.fromarray(pixels).save(first)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels.T).save(second, exif=exif)
    prepare.run(known, tmp_path)
    facts = sample.facts(tmp_path / "data/prepared/mine")
    train(tmp_path, "mine", facts, dict(known.jobs["mine"].model_dump()))
    learner, _ = checkpoint.load(tmp_path / "models/mine")
    stored = shards.split(tmp_path / "data/prepared/mine", "test")
    _, expected = rows(predictor(learner, "classification"), stored, "classification")
    capsys.readouterr()
    assert ask(tmp_path, "mine", source / "test")
    found = answers(capsys.readouterr().out)
    assert [record["image"] for record in found] == [item.id.removeprefix("test/") for item in stored]
    np.testing.assert_allclose([record["probabilities"] for record in found], [*expected.values()], rtol=1e-5)
    small = sample.resized(sample.Sample("x", images.decode(first), label=0), 8, 8)
    direct = predictor(learner, "classification")([small])
    assert np.abs(direct[0] - expected[0]).max() > 1e-5  # the control: scaled at once it is another image


def test_boxes_are_in_pixels_of_the_file(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = folders.picture(tmp_path / "small.png", 1, 64)
    with Image.open(small) as image:
        image.resize((192, 192), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    ask(root, "detection", small)
    ask(root, "detection", tmp_path / "large.png")
    first, second = answers(capsys.readouterr().out)
    assert len(first["boxes"]) == 4 * len(first["labels"]) > 0
    assert max(second["boxes"]) > 2 * max(first["boxes"])


def test_a_model_that_generates_is_asked_for_a_number(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def made(**given: Any) -> list[str]:
        ask(root, "generation", **given)
        return [record["image"] for record in answers(capsys.readouterr().out)]

    assert made() == made()
    assert made() != made(seed=1)
    assert made(number=5)[:3] == made()
    assert ask(root, "generation", out=tmp_path / "out")
    pictures = [path.read_bytes() for path in (tmp_path / "out").glob("*.png")]
    assert len(set(pictures)) == 3
    with pytest.raises(UserError, match="--number: 0"):
        ask(root, "generation", number=0)


def test_a_bad_image_is_named_and_the_others_answered(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = folders.picture(tmp_path / "good.png", 1)
    (tmp_path / "bad.png").write_bytes(good.read_bytes()[:100])
    assert not ask(root, "classification", tmp_path)
    out, err = capsys.readouterr()
    bad, fine = answers(out)
    assert (bad["image"], fine["image"]) == ("bad.png", "good.png")
    assert "error" in bad
    assert "probabilities" in fine
    assert err.startswith("bad.png: damaged image")


def test_the_exit_code_says_whether_all_were_answered(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    folders.picture(tmp_path / "good.png", 1)
    assert command.command("classification", [tmp_path]) == 0
    (tmp_path / "bad.png").write_bytes(b"torn")
    assert command.command("classification", [tmp_path]) == 1
    assert len(answers(capsys.readouterr().out)) == 3


def test_long_and_odd_names_are_answered_and_shown(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "given"
    names = [f"{'x' * 248}.png", "\x1b[2J\n0.png", os.fsdecode(b"stra\xdfe.png")]
    for seed, name in enumerate(names):
        folders.picture(given / "plain.png", seed).rename(given / name)
    (given / "torn\n\x1b.png").write_bytes(b"torn")
    assert not ask(root, "classification", given, out=tmp_path / "out")
    assert "torn\\x0a\\x1b.png: not an image" in capsys.readouterr().err
    text = (tmp_path / "out/predictions.jsonl").read_text(encoding="utf-8")
    assert terminal.ANY.search(text.replace("\n", "")) is None
    found = {record["image"]: record for record in answers(text)}
    assert found.keys() == {*names, "torn\n\x1b.png"}
    for name in names:
        assert images.decode(tmp_path / "out" / found[name].get("picture", f"{name}.png")).std() > 0
    assert [name for name in names if "picture" in found[name]] == names[:1]


def test_a_picture_that_can_not_be_written_loses_no_answer(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The picture of `a.png` would stand where the folder of another picture is to be."""
    given = tmp_path / "given"
    for seed, name in enumerate(("a.png.png/b.png", "a.png", "c.png")):
        folders.picture(given / name, seed)
    assert not ask(root, "classification", given, out=tmp_path / "out")
    found = {record["image"]: record for record in answers((tmp_path / "out/predictions.jsonl").read_text())}
    assert all("probabilities" in record for record in found.values())
    assert [name for name, record in found.items() if "picture_error" in record] in (["a.png"], ["a.png.png/b.png"])
    assert images.decode(tmp_path / "out/c.png.png").std() > 0
    assert "picture can't be written" in capsys.readouterr().err


def test_a_registered_model_without_a_champion_is_no_model(root: Path, tmp_path: Path) -> None:
    decision = {"promoted": False, "text": "no candidate is ranked: box_mAP undefined: no box in val"}
    entry = {"champion": None, "decision": decision, "models": {}}
    store.write_json(tmp_path / "reports/registered.json", {"pets-detection": entry})
    with pytest.raises(UserError, match=r"pets-detection has no champion: .*no box in val"):
        ask(tmp_path, "pets-detection", folders.picture(tmp_path / "one.png", 1))


def test_what_can_not_be_asked(root: Path, tmp_path: Path) -> None:
    picture = folders.picture(tmp_path / "one.png", 1)
    (tmp_path / "empty").mkdir()
    for model, paths, out, reason in (
        ("clasification", [picture], None, r"no model is named 'clasification'; did you mean 'classification'\?"),
        ("classification", [], None, "needs images. Name some"),
        ("classification", [tmp_path / "empty"], None, "holds no image"),
        ("classification", [tmp_path / "none"], None, "no such file or folder"),
        ("classification", [picture], tmp_path, "is not an empty folder"),
    ):
        with pytest.raises(UserError, match=reason):
            ask(root, model, *paths, out=out)


def test_a_registered_model_answers_by_its_champion(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = folders.picture(tmp_path / "one.png", 1)

    def champion(mark: str) -> None:
        entry = {"champion": {"job": "classification", "fingerprint": mark}}
        store.write_json(root / "reports/registered.json", {"digits-classification": entry})

    champion("mark-classification")
    assert ask(root, "digits-classification", picture)
    assert ask(root, "classification", picture)
    one, two = answers(capsys.readouterr().out)
    assert one == two
    champion("earlier")  # its job was trained anew: the champion's own model lies among earlier work
    with pytest.raises(UserError, match="champion of digits-classification, classification, is neither"):
        ask(root, "digits-classification", picture)
    kept = root / ".work/jobs/earlier/model"
    job = params.Job.model_validate({"task": "classification", "dataset": "digits", **JOBS["classification"]})
    torch.manual_seed(7)
    description = checkpoint.describe(job, dataclasses.replace(FACTS))
    with store.folder(kept, "earlier") as path:
        checkpoint.save(path, checkpoint.build(description), description)
    assert ask(root, "digits-classification", picture)
    assert answers(capsys.readouterr().out)[0] != two


def test_registered_models_out_of_the_roster_answer_by_both_names(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The champion lies among earlier work or in MLflow's copy, another version only there."""
    picture = folders.picture(tmp_path / "one.png", 1)
    marks = {"mark-gone": "gone", "mark-second": "second"}
    entry = {"champion": {"job": "gone", "fingerprint": "mark-gone"}, "models": marks}
    store.write_json(tmp_path / "reports/registered.json", {"digits-classification": entry})
    for name, mark in (("gone", "mark-gone"), ("second", "mark-second")):
        place = tmp_path / "mlruns/artifacts/digits/classification/models/m-1/artifacts/artifacts" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(root / "models/classification", place)
        value = store.manifest(place)
        store.write_json(place / store.MANIFEST, {**value, "fingerprint": mark})
    for name in ("digits-classification", "gone", "second"):
        assert ask(tmp_path, name, picture)
    assert len({json.dumps(answer) for answer in answers(capsys.readouterr().out)}) == 1
    with pytest.raises(UserError, match="gone"):
        ask(tmp_path, "gon", picture)
