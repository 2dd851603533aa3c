"""Validation, evaluation, `convline predict` and served models make one input of an image, and bring answers back."""

import dataclasses
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from convline.predicting import predict
from pipeline import checkpoint, plugins, sample, shards, store
from pipeline.augment.fit import Fit, restore
from pipeline.evaluate import stage as evaluate_stage
from pipeline.evaluate.predict import predictor
from pipeline.geometry import rle
from pipeline.learners.base import Learner
from pipeline.params import Job
from pipeline.prepare import stage as prepare
from pipeline.prepare.make import record
from pipeline.sample import Sample
from pipeline.train import loop
from pipeline.train.ranks import Ranks
from tests.helpers import predictions, small_data, support

TASKS = plugins.names("tasks")
FITS = {"positions": "letterbox", "values": "crop", "images": "crop"}
#: not a square, and not in a proportion of whole numbers to any input
HEIGHT, WIDTH = 90, 67


def fit_of(task: str) -> str:
    """A fit that the task can have, and that is no stretch."""
    return FITS[plugins.constant("tasks", task, "GIVES") or "positions"]


def picture() -> Sample:
    return Sample("x", np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8), label=0)


def with_fields(item: Sample, learner: Learner) -> Sample:
    """The sample with what the network reads beside the image."""
    modules = [plugins.load("augment.derived", name) for name in learner.derived]
    return dataclasses.replace(item, **{module.FIELD: module.build()(item) for module in modules})


@pytest.mark.parametrize("task", TASKS)
def test_all_go_the_same_way(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.register.predictor import Predictor

    fit = fit_of(task)
    learner, _ = checkpoint.load(predictions.store_model(tmp_path / "models/m", task, fit))
    module, item = plugins.load("tasks", task), picture()
    inner, placement = Fit(learner.settings.size, fit).forward(with_fields(item, learner))
    batch, targets = module.collate([inner], learner.settings)
    with torch.inference_mode():
        (raw,) = learner.predict_batch(batch, targets)
    by_hand = module.answer(item, restore(module, raw, placement), learner.settings)

    (evaluated,) = predictor(learner, task)([item])
    assert_close(module.answer(item, evaluated, learner.settings), by_hand)

    file = tmp_path / "x.png"
    Image.fromarray(item.pixels).save(file)
    capsys.readouterr()
    assert predict(tmp_path, "m", [file])
    (line,) = capsys.readouterr().out.splitlines()
    answered = json.loads(line)
    if task != "generation":
        assert answered.pop("image") == "x.png"
    assert_close(answered, json.loads(json.dumps(by_hand)))

    served = Predictor()
    served.load_context(SimpleNamespace(artifacts={"model": str(tmp_path / "models/m")}))
    data = io.BytesIO()
    Image.fromarray(item.pixels).save(data, "PNG")
    (row,) = served.predict(None, pd.DataFrame({"image": [data.getvalue()]})).to_dict("records")
    assert_close(row, by_hand)


def assert_close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, list) and value and isinstance(value[0], float):
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4)
        else:
            assert found[name] == value


@pytest.mark.parametrize("task", [name for name in TASKS if fit_of(name) == "letterbox"])
def test_answers_are_in_the_images_own_pixels_whatever_its_resolution(task: str, tmp_path: Path) -> None:
    """An image of twice as many pixels in each direction, which the model sees as the same input."""
    learner, _ = checkpoint.load(predictions.store_model(tmp_path / "m", task, "letterbox"))
    module, small = plugins.load("tasks", task), picture()
    large = Sample("y", small.pixels.repeat(2, axis=0).repeat(2, axis=1), label=0)
    ask = predictor(learner, task)
    settings = learner.settings
    inner, placement = Fit(settings.size, settings.fit).forward(with_fields(small, learner))
    batch, targets = module.collate([inner], settings)
    with torch.inference_mode():
        (raw,) = learner.predict_batch(batch, targets)
    once = module.answer(small, restore(module, raw, placement), settings)
    twice = module.answer(large, restore(module, raw, placement.of(2 * HEIGHT, 2 * WIDTH)), settings)
    if "boxes" in once:
        np.testing.assert_allclose(twice["boxes"], 2 * np.array(once["boxes"]), atol=1e-6)
    for mask, mask_of_large in zip(once.get("masks", ()), twice.get("masks", ()), strict=True):
        rle.area(mask.encode(), (HEIGHT, WIDTH))
        rle.area(mask_of_large.encode(), (2 * HEIGHT, 2 * WIDTH))
    assert len(ask([large])) == 1


@pytest.mark.parametrize(("task", "data"), [("segmentation", "masks"), ("detection", "coco")])
def test_validation_and_evaluation_score_alike(task: str, data: str, tmp_path: Path) -> None:
    """The last epoch's score on val, and evaluate's of the stored model; images are no squares."""
    name, channels, size, options = predictions.small_network(task)
    job: dict[str, Any] = {"task": task, "architecture": name, "options": options, "size": size, "channels": channels}
    settings = {"dataset": data, "fit": "letterbox", "epochs": 1, "batch": 4, "lr": 0.001}
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/own").symlink_to(small_data.DATA / data)
    derived: dict[str, Any] = {field: {} for field in plugins.needed_fields(name)}
    dataset = {"format": small_data.FORMATS[data], "path": "data/raw/own", "derived": derived}
    params = support.write_params(tmp_path, {"m": {**job, **settings}}, datasets={data: dataset})
    support.prepared(tmp_path, params)
    job_spec = support.job_specs(tmp_path, params)["m"]
    trainer = loop.Trainer(job_spec, Ranks())
    trainer.epoch()
    trainer.finish()
    plan = evaluate_stage.Plan(params.evaluate)
    (tmp_path / "out").mkdir()
    made = evaluate_stage.Model(job_spec.model, None)
    evaluate_stage.evaluate(tmp_path / "out", tmp_path, made, Job.model_validate(params.jobs["m"].model_dump()), plan)
    scores = store.read_json(tmp_path / "out/scores.json")
    primary = scores["primary"]
    assert scores[f"val_{primary}"] == pytest.approx(trainer.history[-1][f"val/{primary}"], abs=1e-5)
    assert pq.read_table(tmp_path / "out/val.parquet").num_rows == len(trainer.held_out)


@pytest.mark.parametrize("bits", [12, "range"])
def test_deep_images_and_pages_are_read_as_in_preparing(
    bits: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.register.predictor import Predictor

    source = tmp_path / "data/raw/mine"
    generator = np.random.default_rng(0)
    for split, number in {"train": 4, "val": 2, "test": 2}.items():
        for at in range(number):
            first, second = (generator.integers(100, 3000, (40, 30), np.uint16) for _ in range(2))
            file = source / split / "ab"[at % 2] / f"{at}.tif"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(first).save(file, save_all=True, append_images=[Image.fromarray(second)])
    settings = {"format": "image_folder", "path": "data/raw/mine"}
    asked = {"bits": bits, "first_page": True}
    job = {"dataset": "mine", "size": 8, "channels": 1}
    written = support.write_params(tmp_path, {"mine": job}, datasets={"mine": {**settings, **asked}})
    prepare.run(written, tmp_path)
    facts = sample.facts(tmp_path / "data/prepared/mine")
    for name, these in (("mine", facts), ("former", dataclasses.replace(facts, bits=None, first_page=False))):
        description = checkpoint.describe(written.jobs["mine"], these)
        if name == "former":  # as versions wrote it that kept neither
            description["settings"] = {key: value for key, value in description["settings"].items() if key not in asked}
        torch.manual_seed(0)
        with store.folder(tmp_path / "models" / name, name) as path:
            checkpoint.save(path, checkpoint.build(description), description)
    learner, _ = checkpoint.load(tmp_path / "models/mine")
    stored = shards.split(tmp_path / "data/prepared/mine", "test")
    expected = predictor(learner, "classification")(list(stored))
    files = sorted(source.glob("test/*/*.tif"))

    capsys.readouterr()
    assert predict(tmp_path, "mine", files)
    answers = [json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_allclose(answers, expected, rtol=1e-5)
    served = Predictor()
    served.load_context(SimpleNamespace(artifacts={"model": str(tmp_path / "models/mine")}))
    answered = served.predict(None, pd.DataFrame({"image": [file.read_bytes() for file in files]}))
    np.testing.assert_allclose([*answered["probabilities"]], expected, rtol=1e-5)

    assert not predict(tmp_path, "former", files)
    assert "more than 8 bits" in capsys.readouterr().out


def test_facts_of_how_files_were_read_are_stored_where_they_are_set() -> None:
    facts = sample.Facts("x", (), (), {}, (), (), {}, {})
    assert record(facts).keys().isdisjoint({"bits", "first_page"})  # so that no prepared set gets another digest
    assert record(dataclasses.replace(facts, bits=12, first_page=True))["bits"] == 12
