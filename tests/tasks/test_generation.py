"""Generation's distances against independent formulas, and samples that depend on the given image alone."""

import base64
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.linalg  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torchmetrics.image.fid import _compute_fid

from pipeline import checkpoint, images, store
from pipeline.errors import UserError
from pipeline.evaluate import predict
from pipeline.evaluate import stage as evaluate_stage
from pipeline.learners.adversarial import Adversarial, Generated
from pipeline.learners.base import Learner, Settings
from pipeline.learners.feature_extractor import extract
from pipeline.metrics import fid
from pipeline.models import dcgan
from pipeline.models.parts.feature_maps import features as stage_maps
from pipeline.models.parts.spec import Spec, build_network
from pipeline.params import Params
from pipeline.register import champion
from pipeline.sample import Sample
from pipeline.tasks import classification, generation
from pipeline.train import stage as train_stage
from tests.helpers import support

Floats = NDArray[np.float64]
Project = Callable[..., tuple[Path, Params]]


def settings(channels: int = 1, size: int = 16) -> Settings:
    return Settings(("a", "b"), (), (1, 1), channels, size, (0.5,) * channels, (0.25,) * channels)


def sets(number: int, width: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Two sets of features that are correlated, and dead in some places, as behind rectifiers."""
    generator = np.random.default_rng(seed)
    mixed = generator.normal(size=(2, number, width)) @ generator.normal(size=(width, width)) / width**0.5
    mixed[1] = mixed[1] * 1.3 + 0.2
    mixed[:, :, 0] = -1
    real, fake = np.maximum(mixed, 0)
    return real, fake


def ones(number: int) -> NDArray[np.int64]:
    return np.ones(number, np.int64)


@pytest.mark.parametrize("width", [2, 20, 84])
def test_frechet_is_that_of_a_matrix_root(width: int) -> None:
    real, fake = sets(200, width)
    first, second = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    root = scipy.linalg.sqrtm((first + 1e-13 * np.eye(width)) @ (second + 1e-13 * np.eye(width))).real
    apart = ((real.mean(0) - fake.mean(0)) ** 2).sum()
    expected = apart + np.trace(first) + np.trace(second) - 2 * np.trace(root)
    ours = fid.frechet(real, fake)(ones(200))
    assert ours == pytest.approx(expected, rel=1e-6)
    values = (real.mean(0), first, fake.mean(0), second)
    theirs = float(_compute_fid(*(torch.from_numpy(value) for value in values)))
    assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("number", [2, 10, 40, 41, 60])
def test_frechet_with_fewer_rows_than_features(number: int) -> None:
    """The eigenvalues of AB, without a Gram matrix of the rows."""
    real, fake = sets(number, 40)
    first, second = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    shared = np.sqrt(np.linalg.eigvals(first @ second).astype(complex)).real.sum()
    apart = ((real.mean(0) - fake.mean(0)) ** 2).sum()
    expected = apart + np.trace(first) + np.trace(second) - 2 * shared
    assert fid.frechet(real, fake)(ones(number)) == pytest.approx(expected, rel=1e-5)


def test_frechet_of_full_rank_is_that_of_a_matrix_root_and_dead_features_add_nothing() -> None:
    random = np.random.default_rng(0)
    real, fake = random.normal(size=(90, 12)), random.normal(size=(90, 12)) @ random.normal(size=(12, 12)) + 0.3
    first, second = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert fid.frechet(real, fake)(ones(90)) == pytest.approx(expected, rel=1e-10)
    dead = [np.pad(rows, ((0, 0), (0, 1))) for rows in (real, fake)]
    assert fid.frechet(*dead)(ones(90)) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_gaussians_by_hand() -> None:
    """Along one axis the distance is (μ−ν)² + (σ−τ)²; independent axes add up."""
    corners = np.array([[-1.0, -1], [-1, 1], [1, -1], [1, 1]]) * np.sqrt(3 / 4)  # variance 1 by ddof 1
    real, fake = corners * [2, 5], corners * [3, 1] + [10, -7]
    expected = 10**2 + 7**2 + (2 - 3) ** 2 + (5 - 1) ** 2
    assert fid.frechet(real, fake)(ones(4)) == pytest.approx(expected, rel=1e-12)
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(2, 2)))[0]
    assert fid.frechet(real @ turned, fake @ turned)(ones(4)) == pytest.approx(expected, rel=1e-12)
    assert fid.frechet(real, real)(ones(4)) == pytest.approx(0, abs=1e-12)


def test_kernel_distance_by_loops() -> None:
    real, fake = sets(12, 5)
    kernel: Callable[[Floats, Floats], float] = lambda x, y: float((x @ y / 5 + 1) ** 3)  # noqa: E731
    pairs = [(i, j) for i in range(12) for j in range(12)]
    within = sum(kernel(rows[i], rows[j]) for rows in (real, fake) for i, j in pairs if i != j) / (12 * 11)
    between = sum(kernel(real[i], fake[j]) for i, j in pairs) / 12**2
    assert fid.kernel(real, fake)(ones(12)) == pytest.approx(within - 2 * between, rel=1e-9)


def test_kernel_distance_of_many_rows_is_the_mean_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = sets(25, 5)
    parts = [fid.kernel(real[part], fake[part]) for part in (slice(0, 9), slice(9, 17), slice(17, 25))]
    monkeypatch.setattr(fid, "BLOCK", 10)
    ours = fid.kernel(real, fake)(ones(25))
    assert ours == pytest.approx((parts[0](ones(9)) + parts[1](ones(8)) + parts[2](ones(8))) / 3)


def test_one_row_more_than_a_block_is_no_block_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fid, "BLOCK", 10)
    for function in (fid.kernel, fid.precision):
        assert np.isfinite(function(*sets(11, 5))(ones(11)))


def test_precision_is_being_within_reach_of_a_neighbour() -> None:
    """The balls by scikit-learn's neighbours and by hand."""
    real, fake = sets(80, 4)
    reach = NearestNeighbors(n_neighbors=4).fit(real).kneighbors(real)[0][:, 3]
    inside = np.array([(np.linalg.norm(real - one, axis=1) <= reach).any() for one in fake])
    counts = np.random.default_rng(1).integers(0, 3, 80)
    assert 0.1 < inside.mean() < 0.9
    assert fid.precision(real, fake)(ones(80)) == pytest.approx(inside.mean())
    assert fid.precision(real, fake)(counts) == pytest.approx(inside[np.repeat(np.arange(80), counts)].mean())


def test_precision_and_recall_separate_a_narrow_set_from_a_wide_one() -> None:
    random = np.random.default_rng(0)
    wide, narrow = random.normal(size=(200, 3)), 0.1 * random.normal(size=(200, 3))
    assert fid.precision(wide, narrow)(ones(200)) > 0.95
    assert fid.precision(narrow, wide)(ones(200)) < 0.05
    assert fid.precision(wide, wide + 100)(ones(200)) == 0
    assert np.isnan(fid.precision(*sets(3, 4))(ones(3)))


def table(real: Floats, fake: Floats, extractor: str = "lenet5@0a") -> pa.Table:
    columns: dict[str, Any] = {"real": real.tolist(), "fake": fake.tolist(), "extractor": [extractor] * len(real)}
    columns |= {"guess": [0] * len(real), "confidence": [1.0] * len(real)}
    columns |= {"real_pixels": columns["real"], "fake_pixels": columns["fake"]}
    return pa.table(columns)


@pytest.mark.parametrize("width", [6, 90])
def test_counts_are_repeated_rows(width: int) -> None:
    rows = table(*sets(60, width))
    counts = np.random.default_rng(1).integers(0, 4, 60)
    weighted = generation.scorer(rows, settings())(counts)
    repeated = rows.take(np.repeat(np.arange(60), counts))
    of_copies = generation.scorer(repeated, settings())(ones(int(counts.sum())))
    assert {"FID[lenet5]", "KID[lenet5]", "diversity"} < set(weighted)
    for name in ("sample_precision[lenet5]", "sample_recall[lenet5]"):
        del weighted[name], of_copies[name]  # a copy would be its original's neighbour
    assert weighted == pytest.approx(of_copies, rel=1e-6)
    assert weighted["FID[lenet5]"] != pytest.approx(
        generation.scorer(rows, settings())(ones(60))["FID[lenet5]"], rel=1e-3
    )


def test_diversity_is_by_distances_between_all_pairs() -> None:
    real, fake = sets(15, 6)

    def mean_square(rows: Floats) -> float:
        squares = [((rows[i] - rows[j]) ** 2).sum() for i in range(15) for j in range(15) if i != j]
        return float(np.mean(squares))

    ours = fid.diversity(real, fake)(ones(15))
    assert ours == pytest.approx(np.sqrt(mean_square(fake) / mean_square(real)), rel=1e-12)
    assert fid.diversity(real, np.ones((15, 6)))(ones(15)) == pytest.approx(0, abs=1e-12)


def test_mode_collapse_is_reported() -> None:
    assert generation.remark({"diversity": 0.7}) is None
    assert generation.remark({"diversity": float("nan")}) is None
    assert str(generation.remark({"diversity": 0.1})).startswith("diversity 0.10: ")


def test_confident_samples_and_their_classes_by_hand() -> None:
    rows = table(*sets(5, 4)).drop_columns(["guess", "confidence"])
    rows = rows.append_column("guess", pa.array([0, 0, 1, 2, 3]))
    rows = rows.append_column("confidence", pa.array([0.95, 0.9, 0.99, 0.89, 0.5]))
    score = generation.scorer(rows, settings())
    assert (score(ones(5))["confident_fraction[lenet5]"], score(ones(5))["classes_found[lenet5]"]) == (0.6, 2)
    resampled = score(np.array([2, 0, 0, 1, 2]))
    assert (resampled["confident_fraction[lenet5]"], resampled["classes_found[lenet5]"]) == (0.4, 1)


def test_one_image_has_no_distance() -> None:
    score = generation.scorer(table(*sets(5, 4)), settings())
    names = ("FID[lenet5]", "KID[lenet5]", "diversity")
    one, twice, some = (score(np.array([0, *counts, 0, 0])) for counts in ((1, 0), (2, 0), (2, 1)))
    assert all(np.isnan(one[name]) for name in names)
    assert all(np.isfinite(twice[name]) for name in names[:2])
    assert np.isnan(twice["diversity"])  # real images that don't differ are no unit
    assert all(np.isfinite(value) for value in some.values())


def test_features_of_different_extractors_are_refused() -> None:
    rows = pa.concat_tables([table(*sets(3, 4)), table(*sets(3, 4), extractor="lenet5@0b")])
    with pytest.raises(UserError, match="different extractors, lenet5@0a, lenet5@0b"):
        generation.scorer(rows, settings())


def test_a_champion_measured_by_another_extractor_is_not_compared() -> None:
    """By architecture both scores are called FID[lenet5]; the digest tells them apart."""
    ours, theirs = (
        (table(*sets(30, 4, seed))).append_column("group", pa.array(map(str, range(30)))) for seed in (0, 1)
    )
    assert champion.decide(ours, theirs, "generation", settings())["metric"] == "FID"
    retrained = theirs.set_column(theirs.column_names.index("extractor"), "extractor", pa.array(["lenet5@0b"] * 30))
    with pytest.raises(UserError, match="different extractors, lenet5@0a, lenet5@0b"):
        champion.decide(ours, retrained, "generation", settings())


def test_jobs_that_are_ranked_together_have_one_extractor(tmp_path: Path) -> None:
    gan = {"task": "generation", "architecture": "dcgan", "size": 32}
    jobs: dict[str, dict[str, Any]] = {"one": {}, "two": {"seed": 1}, "a": {**gan, "extractor": "one"}}
    support.write_params(tmp_path, {**jobs, "b": {**gan, "extractor": "one"}})
    for other in ("two", None):
        with pytest.raises(
            UserError, match=rf"jobs\.b\.extractor: {other or 'no job'} measures it, and one measures a: such scores"
        ):
            support.write_params(tmp_path, {**jobs, "b": {**gan, "extractor": other}})
    support.write_params(tmp_path, {**jobs, "b": {**gan, "extractor": "two"}}, roster=["one", "two", "a"])


def test_a_resample_takes_milliseconds() -> None:
    score = generation.scorer(table(*sets(360, 128)), settings())
    counts = np.bincount(np.random.default_rng(0).integers(360, size=360), minlength=360)
    seconds = []
    for _ in range(20):
        started = time.thread_time()
        score(counts)
        seconds.append(time.thread_time() - started)
    assert min(seconds) < 0.02


def sampler(channels: int = 1, size: int = 16) -> Adversarial:
    torch.manual_seed(0)
    network = build_network("dcgan", Spec("generation", 2, channels, size), {"width": 4, "latent": 8})
    for parameter in network.parameters():
        parameter.data *= 4  # so that samples differ by more than a gray level
    learner = dcgan.learner(network, settings(channels, size))
    learner.eval()
    return learner


def extractor(channels: int = 1, size: int = 32) -> Learner:
    torch.manual_seed(1)
    network = build_network("lenet5", Spec("classification", 3, channels, size), {})
    learner = classification.learner(network, settings(channels, size)).eval()
    learner.name = "lenet5@0a"
    return learner


def given(number: int, channels: int = 1, size: int = 16) -> Tensor:
    source = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (number, channels, size, size), dtype=torch.uint8, generator=source)


@torch.inference_mode()
def test_a_sample_is_a_function_of_the_given_image() -> None:
    learner, asked = sampler(), given(5)
    torch.manual_seed(5)
    first = learner(asked)
    torch.manual_seed(6)
    again = [learner(asked[index : index + 1])[0] for index in (4, 3, 2, 1, 0)][::-1]
    assert first[0].image.shape == (16, 16, 3)
    assert first[0].image.dtype == np.uint8
    for one, other in zip(first, again, strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
        assert 0 < one.severity < 1
    assert all((first[0].image != other.image).any() for other in first[1:])


@torch.inference_mode()
def test_samples_are_in_color_if_the_images_are() -> None:
    (gray, *_), (color, *_) = sampler()(given(2)), sampler(3)(given(2, 3))
    assert (gray.image[..., 0] == gray.image[..., 1]).all()
    assert (color.image[..., 0] != color.image[..., 1]).any()


@torch.inference_mode()
def test_features_are_what_the_head_reads() -> None:
    classifier, asked = extractor(), given(4, size=32)
    before = stage_maps(classifier.network, classifier.normalize(asked), ("f6",))["f6"]
    features, probabilities = extract(classifier, asked)
    np.testing.assert_allclose(probabilities, classifier(asked), rtol=1e-6)
    np.testing.assert_allclose(features, before, rtol=1e-6)
    assert features.shape == (4, 84)
    assert not classifier.network.get_submodule("output")._forward_pre_hooks


@torch.inference_mode()
def test_images_are_brought_to_the_extractors_size_and_channels() -> None:
    flat = torch.full((1, 3, 16, 16), 200, dtype=torch.uint8)
    expected = extract(extractor(), torch.full((1, 1, 32, 32), 200, dtype=torch.uint8))[0]
    np.testing.assert_allclose(extract(extractor(), flat)[0], expected, rtol=1e-5)
    colors = extractor(channels=3)
    of_gray = extract(colors, given(2))[0]
    np.testing.assert_allclose(of_gray, extract(colors, given(2).expand(-1, 3, -1, -1))[0], rtol=1e-6)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    by_pillow = torch.from_numpy(images.luminance(pixels).copy())[None, None]
    ours = extract(extractor(), torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]
    np.testing.assert_allclose(ours, extract(extractor(), by_pillow)[0], atol=0.05)


def test_only_a_classifier_can_be_the_extractor() -> None:
    other = sampler()
    other.name = "dcgan@0a"
    with pytest.raises(UserError, match="extractor: dcgan@0a is not a classifier"):
        sampler().use_extractor(other)


@torch.inference_mode()
def test_a_row_with_and_without_an_extractor() -> None:
    learner, asked = sampler(), given(1)
    sample = Sample("x", asked[0].permute(1, 2, 0).expand(-1, -1, 3).contiguous().numpy())
    plain = generation.rows(sample, learner(asked)[0])
    assert plain["extractor"] == "pixels"
    assert len(plain["real"]) == len(plain["fake"]) == 64
    mean = asked.float().mean() / 255
    assert np.mean(plain["real"]) == pytest.approx(float(mean), abs=0.01)
    learner.use_extractor(extractor())
    row = generation.rows(sample, learner(asked)[0])
    assert row.keys() == plain.keys()
    assert (plain["guess"], plain["confidence"]) == (None, None)
    picture = images.decode_stored(row["image"])[..., 0].copy()
    _, (probabilities,) = extract(extractor(), torch.from_numpy(picture)[None, None])
    assert (row["guess"], row["confidence"]) == (probabilities.argmax(), pytest.approx(probabilities.max()))
    assert row["extractor"] == "lenet5@0a"
    assert row["image"] == plain["image"]
    np.testing.assert_allclose(row["real"], extract(extractor(), asked)[0][0], rtol=1e-6)
    assert not any(name.startswith("extractor") for name in learner.state_dict())


def test_the_plain_learner_generates_and_does_not_train() -> None:
    learner = generation.learner(sampler().network, settings()).eval()
    with torch.inference_mode():
        assert learner(given(2))[1].severity == 0
    with pytest.raises(NotImplementedError):
        learner(given(2), torch.zeros(2))


def test_collate_gives_class_probabilities_and_needs_no_label() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    mixed = Sample("x", pixels, label=np.array([0.25, 0.75], np.float32))
    asked, targets = generation.collate([Sample("x", pixels), Sample("x", pixels, label=1), mixed], settings(3))
    assert asked.shape == (3, 3, 4, 4)
    assert targets.tolist() == [[0, 0], [0, 1], [0.25, 0.75]]


@torch.inference_mode()
def test_classes_are_sampled_with_the_frequencies_of_the_train_set() -> None:
    conditional = Settings(("a", "b", "c"), (), (30, 0, 10), 1, 16, (0.5,), (0.25,))
    network = build_network("dcgan", Spec("generation", 3, 1, 16), {"width": 4, "latent": 8, "conditional": True})
    learner, asked = dcgan.learner(network, conditional).eval(), given(200)
    chosen = torch.cat([learner.noise_and_label(image)[1] for image in asked])
    assert chosen.sum(dim=1).eq(1).all()
    assert chosen.mean(dim=0).tolist() == pytest.approx([0.75, 0, 0.25], abs=0.1)
    assert len(learner(asked[:3])) == 3
    again = [learner.noise_and_label(image)[1] for image in asked.flip(0)]
    assert torch.equal(torch.cat(again).flip(0), chosen)


def test_answer_and_back() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    sample, made = Sample("x", picture), Generated(picture, 0.5)
    answered = json.loads(json.dumps(generation.answer(sample, made, settings())))
    assert list(answered) == list(generation.OUTPUT)
    np.testing.assert_array_equal(images.decode(base64.b64decode(answered["image"])), picture)
    back = generation.prediction(sample, answered, settings())
    np.testing.assert_array_equal(back.image, picture)
    row = generation.rows(sample, back)
    assert row["real"] == row["fake"]


@torch.inference_mode()
def test_a_served_answer_is_measured_as_the_learner_does() -> None:
    learner, pixels = sampler(), np.random.default_rng(0).integers(0, 256, (70, 9, 9, 3), dtype=np.uint8)
    samples = [Sample(f"{number}", picture) for number, picture in enumerate(pixels)]
    plain = predict.predictor(learner, "generation")(samples)
    learner.use_extractor(extractor())
    expected = predict.predictor(learner, "generation")(samples)
    measured = generation.measured(plain, samples, extractor(), settings())
    for sample, one, other in zip(samples, expected, measured, strict=True):
        first, second = generation.rows(sample, one), generation.rows(sample, other)
        np.testing.assert_allclose(first.pop("real"), second.pop("real"), atol=1e-5)
        np.testing.assert_allclose(first.pop("fake"), second.pop("fake"), atol=1e-5)
        assert first.pop("confidence") == pytest.approx(second.pop("confidence"), abs=1e-5)
        assert first == second


def test_pictures() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    sample, made = Sample("x", picture), Generated(picture)
    rendered = generation.draw(sample, made, settings())
    np.testing.assert_array_equal(rendered[::6, ::6], picture)
    row = generation.rows(sample, made)
    figure = generation.figures(pa.Table.from_pylist([row] * 70), settings())["samples"]
    assert len(figure.axes) == 1


GAN: dict[str, Any] = {
    "task": "generation",
    "architecture": "dcgan",
    "size": 16,
    "epochs": 1,
    "batch": 256,
    "extractor": "classifier",
    "options": {"width": 4, "latent": 8},
}


@pytest.mark.usefixtures("here")
def test_a_job_is_measured_by_another_jobs_classifier(project: Project) -> None:
    classifier = {"architecture": "lenet5", "size": 32, "epochs": 1, "batch": 128, "train_images": 300}
    root, params = project({"gan": GAN, "classifier": classifier})
    train_stage.run(params, root)
    evaluate_stage.run(params, root)
    metrics = store.read_json(root / "metrics/gan.json")
    assert (metrics["primary"], metrics["higher_is_better"]) == ("FID[lenet5]", False)
    assert metrics["FID[lenet5]_low"] <= metrics["FID[lenet5]"] <= metrics["FID[lenet5]_high"]
    assert metrics["val_FID[lenet5]"] > 0
    assert {
        "KID[lenet5]",
        "KID[lenet5]_low",
        "diversity",
        "confident_fraction[lenet5]",
        "classes_found[lenet5]",
    } <= metrics.keys()
    pictures = {path.name for path in (root / "evaluations/gan").glob("*.png")}
    figures = {f"figure-{name}.png" for name in ("samples", "interpolation", "nearest", "changes", "anchors", "epochs")}
    mistaken = max(pq.read_table(root / "evaluations/gan/test.parquet")["severity"].to_pylist()) > 0
    assert pictures == {"examples.png", *figures} | ({"failures.png"} if mistaken else set())
    kept = {path: path.stat().st_mtime_ns for path in (root / ".work/features").glob("*/*/features.npz")}
    assert kept
    shutil.rmtree(root / "evaluations/gan")
    shutil.rmtree(root / ".work/evaluations")
    evaluate_stage.run(params, root)  # another asks nothing anew of what it has seen
    assert {path: path.stat().st_mtime_ns for path in (root / ".work/features").glob("*/*/features.npz")} == kept
    learner, _ = checkpoint.load(root / "models/classifier")
    assert learner.name.startswith("lenet5@")
    served, _ = checkpoint.load(root / "models/gan")
    (made,) = predict.predictor(served, "generation")([Sample("x", np.zeros((8, 8, 3), np.uint8))])
    assert made.extractor == "pixels"
