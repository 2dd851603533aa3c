"""Suggested jobs are valid, can be built, learn a step, and depend on the train split as they say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convline import suggest
from pipeline import checkpoint, params, plugins, sample, shards
from pipeline.params import Dataset, Job
from pipeline.prepare.formats.parts.files import scan
from pipeline.prepare.make import make
from pipeline.recipes.parts import detectors
from pipeline.sample import Facts, Sample
from tests.helpers.folders import FOLDERS


def prepared(name: str, root: Path) -> tuple[Facts, Path]:
    raw = root / "data/raw/mine"
    FOLDERS[name](raw)
    options = plugins.load("prepare.formats", name).recognise(scan(raw))
    made = root / "made"
    made.mkdir()
    make(made, Dataset(format=name, path="data/raw/mine", options=options), root)
    return sample.facts(made), made


def statistics(**given: Any) -> suggest.TrainStatistics:
    plain = {"images": 100, "channels": 3, "side": 100, "boxes": np.full(8, 0.3), "crowded": 3}
    return suggest.TrainStatistics(**{**plain, **given})


def test_images_without_labels_get_a_generator_that_learns_a_step(tmp_path: Path) -> None:
    FOLDERS["image_folder"](tmp_path / "data/raw/mine")
    made = tmp_path / "made"
    made.mkdir()
    make(made, Dataset(format="unlabeled", path="data/raw/mine"), tmp_path)
    facts, train = sample.facts(made), shards.split(made, "train")
    assert (facts.classes, facts.fields) == ((), ())
    ((name, settings),) = suggest.jobs("mine", suggest.tasks(facts), suggest.TrainStatistics.of(facts, train)).items()
    job = Job.model_validate(settings)
    assert (name, job.task) == ("mine-dcgan", "generation")
    learner = checkpoint.build(checkpoint.describe(job, facts))
    batch = [sample.resized(train[at], job.size, job.size) for at in range(2)]
    losses = learner(*plugins.load("tasks", job.task).collate(batch, learner.settings))
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize("name", ["image_folder", "mask_png", "coco"])
def test_every_job_is_valid_and_learns_a_step(name: str, tmp_path: Path) -> None:
    facts, made = prepared(name, tmp_path)
    train = shards.split(made, "train")
    jobs = suggest.jobs("mine", suggest.tasks(facts), suggest.TrainStatistics.of(facts, train))
    assert jobs
    for settings in jobs.values():
        job = Job.model_validate(settings)
        learner = checkpoint.build(checkpoint.describe(job, facts))
        task = plugins.load("tasks", job.task)
        batch = [sample.resized(train[at], job.size, job.size) for at in range(2)]
        losses = learner(*task.collate(batch, learner.settings))
        total = torch.stack(list(losses.values())).sum()
        total.backward()
        assert torch.isfinite(total)


def test_tasks_are_those_whose_needs_are_met() -> None:
    def possible(*fields: str, classes: tuple[str, ...] = ("a", "b")) -> list[str]:
        return suggest.tasks(Facts("x", classes, classes, {}, (), fields, {}, {}))

    assert possible("label") == ["classification"]
    assert possible("boxes", "labels") == ["detection"]
    assert "instance_segmentation" in possible("boxes", "labels", "masks")
    assert possible("semantic") == ["segmentation"]
    assert possible() == ["generation"]


def test_one_class_teaches_a_classifier_nothing_and_a_detector_something() -> None:
    one = Facts("x", ("a",), (), {}, (3,), ("label",), {}, {})
    assert suggest.tasks(one) == []
    assert "one class, a" in str(suggest.nothing_to_learn(one))
    boxed = Facts("x", ("a",), (), {}, (3,), ("boxes", "labels"), {}, {})
    assert suggest.tasks(boxed) == ["detection"]
    assert suggest.nothing_to_learn(boxed) is None


def test_no_job_changes_the_aspect_of_an_image(tmp_path: Path) -> None:
    for task, fit in (("classification", "crop"), ("generation", "crop"), ("segmentation", "letterbox")):
        assert {job["fit"] for job in suggest.jobs("d", [task], statistics()).values()} == {fit}
    assert {job["fit"] for job in suggest.jobs("d", ["detection"], statistics()).values()} == {"letterbox"}
    wide = Sample("x", np.zeros((40, 80, 3), np.uint8), boxes=np.array([[0, 0, 20, 20]], np.float32))
    shards.write_shard(tmp_path / "train-0.arrow", [wide])
    facts = Facts("x", ("a",), (), {}, (1,), ("boxes",), {"3": [0.1, 0.2, 0.3]}, {"3": [0.1, 0.2, 0.3]})
    found = suggest.TrainStatistics.of(facts, shards.split(tmp_path, "train"))
    assert found.boxes.tolist() == [0.25], "of the input's side, which is the image's longer one"


def test_small_objects_are_looked_at_more_closely_and_anchors_follow_them() -> None:
    tiny, large = (suggest.jobs("d", ["detection"], statistics(boxes=np.full(8, share))) for share in (0.03, 0.5))
    assert tiny["d-faster_rcnn"]["size"] == detectors.SIDES[-1]
    assert large["d-faster_rcnn"]["size"] == detectors.SIDES[0]
    assert large["d-faster_rcnn"]["options"]["anchors"] == [64] * 4


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    assert suggest.TrainStatistics.of(*with_train(*prepared("idx", tmp_path))).channels == 1


def with_train(facts: Facts, made: Path) -> tuple[Facts, shards.Shards]:
    return facts, shards.split(made, "train")


def test_more_images_take_fewer_epochs() -> None:
    epochs = [statistics(images=number).epochs(60_000, 30) for number in (10, 1000, 3000, 10**6)]
    assert epochs == [30, 30, 20, 4]


def test_masks_and_keypoints_start_from_the_detector_of_the_same_dataset() -> None:
    jobs = suggest.jobs("cells", ["detection", "instance_segmentation", "keypoint_detection"], statistics())
    heads = ["cells-mask_rcnn", "cells-mask_rcnn-keypoints"]
    assert [jobs[name]["pretrained"] for name in heads] == [{"job": "cells-faster_rcnn"}] * 2
    known = params.Params.model_validate({"datasets": {"cells": {"format": "coco"}}, "jobs": jobs})
    assert list(known.selected()) == ["cells-faster_rcnn", *heads]
    assert {known.jobs[name].architecture for name in heads} == {"mask_rcnn"}


def test_a_job_for_keypoints_learns_a_step() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    keypoints = np.array([[[12, 14, 2], [30, 40, 1]]], np.float32)
    one = sample.Sample(
        "a", pixels, boxes=np.array([[8.0, 8, 40, 48]], np.float32), labels=np.zeros(1, np.int64), keypoints=keypoints
    )
    level = {"3": [0.5] * 3}
    facts = Facts("coco", ("a",), (), {}, (1,), (), level, level, keypoints=("top", "end"))
    (settings,) = suggest.jobs("mine", ["keypoint_detection"], statistics()).values()
    job = Job.model_validate(settings)
    learner = checkpoint.build(checkpoint.describe(job, facts))
    task = plugins.load("tasks", job.task)
    losses = learner(*task.collate([sample.resized(one, job.size, job.size)], learner.settings))
    assert torch.isfinite(losses["loss_keypoint"])


@pytest.mark.parametrize("task", ["detection", "instance_segmentation", "keypoint_detection"])
def test_without_a_box_no_detector_is_suggested(task: str) -> None:
    """Sizes and anchors follow the boxes of the train split: there are none to follow."""
    assert suggest.jobs("mine", [task], statistics())
    assert suggest.jobs("mine", [task], statistics(boxes=np.empty(0), crowded=0)) == {}
