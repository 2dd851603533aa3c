"""Border weights against brute force, and their way from the annotations into the loss."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import plugins, shards, store
from pipeline.augment import joined, stage
from pipeline.augment.derived import border_weights
from pipeline.augment.policy import Policy
from pipeline.errors import UserError
from pipeline.geometry import rle
from pipeline.params import Params
from pipeline.prepare import stage as prepare_stage
from pipeline.sample import FIELDS, IGNORE, SPLITS, Facts, Sample
from pipeline.train import loader, loop
from pipeline.train import stage as train_stage
from pipeline.train.ranks import Ranks

DERIVED = plugins.names("augment.derived")
Mask = NDArray[np.bool_]


@pytest.mark.parametrize("name", DERIVED)
def test_every_derived_field_keeps_the_contract(name: str) -> None:
    module = plugins.load("augment.derived", name)
    assert plugins.constant("augment.derived", name, "FIELD") == module.FIELD
    assert module.FIELD in FIELDS
    assert set(module.SPLITS) <= set(SPLITS)
    assert plugins.options("augment.derived", name, "build") is not None
    assert callable(module.build())


def by_brute_force(objects: list[Mask], w0: float, sigma: float) -> NDArray[np.float64]:
    """Every pixel's distance to every pixel of every object."""
    height, width = objects[0].shape
    found = np.zeros((height, width))
    for row, column in itertools.product(range(height), range(width)):
        distances = sorted(
            min(np.hypot(row - y, column - x) for y, x in np.argwhere(shape)) for shape in objects if shape.any()
        )
        if len(distances) > 1:
            found[row, column] = w0 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))
    return found


def blobs(seed: int, height: int = 17, width: int = 26) -> list[Mask]:
    """Rectangles, some of them overlapping."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(draw.integers(2, 6)):
        top, left = draw.integers(0, (height - 3, width - 3))
        shape = np.zeros((height, width), bool)
        shape[top : top + draw.integers(1, 6), left : left + draw.integers(1, 6)] = True
        found.append(shape)
    return found


def with_masks(objects: list[Mask]) -> Sample:
    pixels = np.zeros((*objects[0].shape, 3), np.uint8)
    return Sample("x", pixels, masks=[rle.encode(shape) for shape in objects])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [{}, {"w0": 3.0, "sigma": 1.0}, {"w0": 0.5, "sigma": 0.4}])
def test_weights_by_brute_force(seed: int, options: dict[str, Any]) -> None:
    """Also where sigma is so small that most pixels lie outside of what is looked at."""
    objects = [*blobs(seed), np.zeros((17, 26), bool)]
    found = border_weights.build(**options)(with_masks(objects))
    assert found.dtype == np.float32
    expected = by_brute_force(objects, **{"w0": 10.0, "sigma": 5.0, **options})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    assert expected.max() > 0


def test_one_object_or_none_has_no_gap_to_weigh() -> None:
    one = blobs(0)[:1]
    assert not border_weights.build()(with_masks(one)).any()
    assert not border_weights.build()(dataclasses.replace(with_masks(one), masks=[])).any()
    assert not border_weights.build()(Sample("x", np.zeros((4, 5, 3), np.uint8))).any()


def test_without_masks_objects_are_the_connected_parts_of_each_class() -> None:
    ids = np.zeros((9, 20), np.uint8)
    ids[1:4, 1:4] = ids[4:7, 4:6] = 1  # one part, by a corner
    ids[2:8, 6:9] = 2  # touches it and is another class
    ids[0:3, 15:18] = 2
    ids[7:, 18:] = IGNORE
    left = np.arange(20) < 12
    parts = [ids == 1, (ids == 2) & left, (ids == 2) & ~left]
    item = Sample("x", np.zeros((9, 20, 3), np.uint8), semantic=ids)
    expected = by_brute_force(parts, 10, 5)
    np.testing.assert_allclose(border_weights.build()(item), expected, rtol=1e-4)
    ground = by_brute_force([*parts, ids == 0], 10, 5)
    np.testing.assert_allclose(border_weights.build(background=None)(item), ground, rtol=1e-4)
    assert not np.allclose(ground, expected)


def test_weights_move_with_their_image() -> None:
    """The weights are drawn into the image, too, so that both can be compared wherever they went."""
    weights = border_weights.build(sigma=3.0)(with_masks(blobs(1, 48, 48)))
    picture = np.repeat(np.rint(weights * 20).astype(np.uint8)[..., None], 3, axis=2)
    item = Sample("x", picture, weight=weights)
    flipped = Policy([{"horizontal_flip": {"p": 1.0}}])(item, 0)
    np.testing.assert_array_equal(flipped.weight, weights[:, ::-1])
    bent = Policy([{"elastic": {"std": 4.0, "p": 1.0}}])(item, 0)
    assert bent.weight is not None
    assert np.abs(bent.weight * 20 - bent.pixels[..., 0]).max() <= 1.5
    assert np.abs(weights * 20 - bent.pixels[..., 0]).max() > 50  # it did move


JOB = {"task": "segmentation", "architecture": "unet", "dataset": "tiny", "size": 20, "batch": 2}
JOB |= {"options": {"width": 4, "depth": 1, "dropout": 0}, "epochs": 1}


def params(loss: dict[str, Any], **options: Any) -> Params:
    dataset = {"format": "scenes", "derived": {"border_weights": options}}
    return Params.model_validate({"datasets": {"tiny": dataset}, "jobs": {"a": {**JOB, "loss": loss}}})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    with store.folder(tmp_path / "data/prepared/tiny", "f") as path:
        for split, number in {"train": 5, "val": 1, "test": 1}.items():
            objects = [blobs(seed, 20, 20) for seed in range(number)]
            items = [
                dataclasses.replace(with_masks(shapes), id=f"{split}{at}", semantic=np.any(shapes, axis=0).astype("u1"))
                for at, shapes in enumerate(objects)
            ]
            shards.write_shard(path / f"{split}-00000.arrow", items)
        counts = {"train": 5, "val": 1, "test": 1}
        stats = {"3": [0.5] * 3}
        facts = Facts("scenes", ("o",), ("background", "o"), counts, (0,), ("semantic", "masks"), stats, stats)
        store.write_json(path / "dataset.json", dataclasses.asdict(facts))
    return tmp_path


def test_what_is_staged_is_joined_to_the_samples_of_a_job_that_asks(root: Path) -> None:
    asking, plain = params({"border_weights": True}, w0=4.0), params({"border_weights": False}, w0=4.0)
    stage.run(asking, root)
    folder = root / "data/augmented/tiny-border_weights"
    assert {path.name for path in folder.iterdir()} == {"train-00000.arrow", "options.json", "manifest.json"}
    order = train_stage.job_specs(asking, root)["a"]
    samples = loader.train_samples(order.job, [], order.prepared, order.augmented, order.derived)
    for at, stored in enumerate(shards.split(order.prepared, "train")):
        item = samples[(0, at)]
        assert item.id == stored.id
        np.testing.assert_array_equal(item.weight, border_weights.build(w0=4.0)(stored))
    assert train_stage.job_specs(plain, root)["a"].derived == {}
    stage.run(plain, root)
    assert not folder.exists()


def test_the_weights_decide_the_jobs_fingerprint_and_no_others(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    marks, told = [], []
    for loss, w0 in (({"border_weights": True}, 4.0), ({"border_weights": True}, 5.0), ({}, 4.0), ({}, 5.0)):
        stage.run(params(loss, w0=w0), root)
        told.append(capsys.readouterr().out.split()[-1])
        marks.append(train_stage.job_specs(params(loss, w0=w0), root)["a"].fingerprint)
    assert told[:2] == ["made", "made"]
    assert len(set(marks)) == 3
    assert marks[2] == marks[3]
    stage.run(params({"border_weights": True}, w0=4.0), root)
    assert capsys.readouterr().out.split()[-1] == "restored"


def test_what_is_derived_prepares_no_dataset_anew(root: Path) -> None:
    one, two = (params({}, w0=w0).datasets["tiny"] for w0 in (4.0, 5.0))
    assert prepare_stage.compute_fingerprint(one, root) == prepare_stage.compute_fingerprint(two, root)
    other = one.model_copy(update={"seed": 1})
    assert prepare_stage.compute_fingerprint(one, root) != prepare_stage.compute_fingerprint(other, root)


def test_a_job_learns_from_what_is_staged(root: Path) -> None:
    """Ten times the weights add ten times as much to its first batch's loss."""
    found = []
    for w0 in (4.0, 40.0):
        wanted = params({"border_weights": True}, w0=w0)
        stage.run(wanted, root)
        order = train_stage.job_specs(wanted, root)["a"]
        trainer = loop.Trainer(order, Ranks())
        batches = loader.Loader(trainer.samples, order.job, trainer.settings).batches(trainer._plan(0))
        images, (ids, weights) = next(iter(batches))
        found.append([trainer.learner(images, (ids, share * weights))["cross_entropy"].item() for share in (0, 1)])
        trainer.epoch()
        assert trainer.history[0]["train/loss"] > 0
    (plain, light), (same, heavy) = found
    assert plain == same
    assert heavy - plain == pytest.approx(10 * (light - plain), rel=1e-4)
    assert light > 1.05 * plain


def test_a_wrong_option_and_a_row_of_another_sample_are_reported(root: Path) -> None:
    with pytest.raises(UserError, match=r"datasets\.tiny\.derived\.border_weights: .*sigma"):
        stage.run(params({"border_weights": True}, sigma=0.0), root)
    stored = shards.split(root / "data/prepared/tiny", "train")
    joined.write(root / "train-00000.arrow", stored, border_weights.build())
    other: Any = [dataclasses.replace(item, id=f"other-{item.id}") for item in stored]
    found = joined.Joined(other, shards.split(root, "train"), "weight")
    with pytest.raises(UserError, match=r"row 2 has id train2, but the sample has other-train2\. Run `make repro`"):
        found[2]
