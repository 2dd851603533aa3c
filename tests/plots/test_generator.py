"""Figures of a generator: copies are detected, interpolations are smooth, and confident fractions are by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.learners import adversarial
from pipeline.learners.adversarial import Adversarial
from pipeline.learners.base import Learner, Settings
from pipeline.models import dcgan
from pipeline.models.parts.spec import Spec, build_network
from pipeline.plots import generator, perturbations
from pipeline.sample import Sample
from pipeline.tasks import classification

SETTINGS = Settings(("a", "b", "c"), (), (1, 1, 1), 1, 16, (0.5,), (0.25,))


def sampler(**options: Any) -> Adversarial:
    torch.manual_seed(0)
    network = build_network("dcgan", Spec("generation", 3, 1, 16), {"width": 4, "latent": 8, **options})
    for parameter in network.parameters():
        parameter.data *= 4  # so that samples differ by more than a gray level
    learner = dcgan.learner(network, SETTINGS)
    learner.eval()
    return learner


def extractor() -> Learner:
    torch.manual_seed(1)
    network = build_network("lenet5", Spec("classification", 3, 1, 32), {})
    settings = Settings(("a", "b", "c"), (), (1, 1, 1), 1, 32, (0.5,), (0.25,))
    learner = classification.learner(network, settings).eval()
    learner.name = "lenet5@0a"
    return learner


def pictures(number: int, seed: int) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (number, 1, 16, 16), dtype=torch.uint8, generator=source)


def samples(number: int, seed: int) -> list[Sample]:
    return [Sample(f"{index}", item) for index, item in enumerate(adversarial.to_pictures(pictures(number, seed)))]


def test_novelty_is_0_for_copies_and_1_for_images_of_the_same_kind() -> None:
    random = np.random.default_rng(0)
    train, unseen, fresh = random.normal(size=(3, 400, 4)).astype(np.float32)
    assert generator.novelty(train[:50], train, unseen) == pytest.approx(0, abs=0.01)
    assert generator.novelty(fresh, train, unseen) == pytest.approx(1, abs=0.1)
    line = np.arange(0, 100, 10, dtype=np.float32)[:, None]
    assert generator.novelty(line + 3, line, line + 2) == pytest.approx(1.5)


def test_confident_fraction_by_hand() -> None:
    probabilities = np.array([[0.95, 0.05, 0], [0.1, 0.9, 0], [0.5, 0.25, 0.25], [0.91, 0, 0.09]], np.float32)
    assert generator.confident(probabilities) == (0.75, 2)
    assert generator.confident(probabilities[2:3]) == (0, 0)


@pytest.mark.parametrize("variant", dcgan.VARIANTS)
def test_an_interpolation_reaches_both_ends_and_keeps_its_distribution(variant: str) -> None:
    network = sampler(variant=variant, latent=2000).network
    start, end = network.sample_noise(2, "cpu", torch.Generator().manual_seed(0))[:, None]
    path = network.interpolate(start, end, 5)
    torch.testing.assert_close(path[[0, -1]], torch.cat([start, end]), atol=1e-5, rtol=0)
    if variant == "paper":
        assert float(path.abs().max()) <= 1
    else:
        assert path.flatten(1).std(dim=1).tolist() == pytest.approx([1] * 5, abs=0.05)


@torch.inference_mode()
def test_interpolations_keep_their_class() -> None:
    learner = sampler(conditional=True)
    inputs: list[Tensor] = []
    learner.network.generator.register_forward_pre_hook(lambda _module, arguments: inputs.append(arguments[0]))
    fakes = generator.interpolations(learner)
    assert fakes.shape == (generator.PATHS * generator.STEPS, 1, 16, 16)
    assert fakes.dtype == torch.uint8
    labels = [part[:, 8:, 0, 0] for part in inputs]
    assert all((part == part[0]).all() for part in labels)
    assert [int(part[0].argmax()) for part in labels] == [0, 1, 2, 0, 1, 2]
    assert torch.equal(fakes, generator.interpolations(learner))


@torch.inference_mode()
def test_copies_of_train_images_are_detected() -> None:
    train, unseen = pictures(30, 1), pictures(20, 2)
    copied = generator.nearest(sampler(), train[5:25], train, unseen).axes[0].get_title()
    fresh = generator.nearest(sampler(), pictures(20, 3), train, unseen).axes[0].get_title()
    assert copied.endswith("pixels 0.00")
    assert float(fresh.split()[-1]) == pytest.approx(1, abs=0.1)


@torch.inference_mode()
def test_nearest_images_stand_beside_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles: list[Any] = []
    monkeypatch.setattr(generator, "sheet_figure", lambda given, columns, **_: tiles.extend([columns, *given]))
    train, unseen = pictures(30, 1), pictures(20, 2)
    fakes = torch.cat([train[[7]], unseen[[4]]])
    generator.nearest(sampler(), fakes, train, unseen)
    columns, first, own, _, second, _, other = tiles
    assert columns == 3
    assert (first == own).all()
    assert (second == other).all()
    assert (first != second).any()


def measured() -> Adversarial:
    learner = sampler()
    learner.use_extractor(extractor())
    return learner


@torch.inference_mode()
def test_anchors_are_of_four_sets_in_the_same_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[Tensor] = []
    features = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)

    def extract_all(_sampler: Any, images: Tensor) -> Any:
        """The later a set comes, the farther it is from the first, and in the more classes."""
        batches.append(images)
        far = len(batches) - 1
        return features + far, np.eye(3, dtype=np.float32)[np.arange(12) % max(1, far) % 3]

    monkeypatch.setattr(generator, "extract_all", extract_all)
    fakes, train, unseen = pictures(12, 1), pictures(30, 3), pictures(12, 2)
    measures = generator.measure(measured(), fakes, train, unseen)
    own, trained, again, samples_, shuffled, noise = batches
    assert torch.equal(own, unseen)
    assert torch.equal(again, unseen)
    assert all((one == train).flatten(1).all(1).any() for one in trained)
    assert torch.equal(samples_, fakes)
    assert torch.equal(shuffled.flatten(1).sort().values, unseen.flatten(1).sort().values)
    assert not torch.equal(shuffled, unseen)
    assert noise.shape == unseen.shape
    distances = [distance for _, _, distance in measures.values()]
    assert distances == pytest.approx([4 * 1, 4 * 9, 4 * 16, 4 * 25], rel=1e-3)  # |shift|² in 4 features
    assert [classes for _, classes, _ in measures.values()] == [2, 3, 3, 3]


@torch.inference_mode()
def test_anchors_say_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measures = {"held-out images": (0.95, 3, 2.0), "samples": (0.5, 2, 30.0)}
    monkeypatch.setattr(generator, "measure", lambda *_: measures)
    figure = generator.anchors(measured(), *[pictures(2, 1)] * 3)
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert texts == [["95.0%, 3 classes", "50.0%, 2 classes"], ["2.0", "30.0"]]
    assert figure.axes[1].get_xlabel().startswith("FID[lenet5] to held-out images")


def test_changes_by_hand() -> None:
    images = torch.tensor([[[[100, 200], [0, 50]]]], dtype=torch.uint8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    shifted = perturbations.shifted(images, 1.0)  # an eighth of eight pixels
    assert shifted[0, 0, 0].tolist() == [100] * 5 + [200] * 3
    assert perturbations.darkened(images, 0.5)[0, 0, 0, ::4].tolist() == [80, 160]
    noise = perturbations.noisy(torch.full((1, 1, 64, 64), 128, dtype=torch.uint8), 0.5).float()
    assert float(noise.std()) == pytest.approx(20, rel=0.05)
    assert all(torch.equal(change(images, 0.0), images) for change, _, _ in perturbations.CHANGES.values())


def test_distances_are_divided_by_that_between_two_images() -> None:
    images = torch.stack([torch.full((1, 8, 8), value, dtype=torch.uint8) for value in (100, 200)])
    distances = perturbations.distances(images, perturbations.darkened, perturbations.flatten)
    assert distances == pytest.approx([0.0, 0.15, 0.3, 0.45, 0.6])  # 10 % of 150 over 100
    twins = torch.full((2, 1, 8, 8), 7, dtype=torch.uint8)
    assert np.isnan(perturbations.distances(twins, perturbations.darkened, perturbations.flatten)).all()


@torch.inference_mode()
def test_snapshots_use_the_same_noise_each_time_and_not_torchs_global_stream() -> None:
    learner = sampler(conditional=True)
    inputs: list[Tensor] = []
    learner.network.generator.register_forward_pre_hook(lambda _module, arguments: inputs.append(arguments[0]))
    torch.manual_seed(1)
    first, then = learner.snapshot(), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), then)
    assert (learner.snapshot() == first).all()
    assert torch.equal(inputs[0], inputs[1])
    assert inputs[0][:, 8:, 0, 0].argmax(1).tolist() == [number % 3 for number in range(adversarial.SNAPSHOT_IMAGES)]
    for parameter in learner.network.parameters():
        parameter.data *= -1
    assert (learner.snapshot() != first).any()


def test_only_anchors_need_an_extractor() -> None:
    learner = sampler()
    assert set(generator.figures(learner, samples(9, 1), samples(8, 2))) == {"interpolation", "nearest", "changes"}
    learner.use_extractor(extractor())
    assert set(generator.figures(learner, samples(9, 1), samples(8, 2))) == {
        "interpolation",
        "nearest",
        "changes",
        "anchors",
    }


def test_one_held_out_image_gives_no_distance_and_no_error() -> None:
    learner = sampler()
    learner.use_extractor(extractor())
    assert set(generator.figures(learner, samples(9, 1), samples(1, 2))) == {"interpolation", "nearest", "changes"}
