"""The first layer's weights are the network's own, and class distances agree with scikit-learn."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances
from torch import Tensor, nn

from pipeline import images, shards, store
from pipeline.evaluate import inspection
from pipeline.evaluate.predict import predictor, rows
from pipeline.learners.base import Learner, Settings
from pipeline.models import linear, resnet
from pipeline.models.parts.spec import Spec
from pipeline.sample import Sample
from pipeline.shards import Shards
from pipeline.tasks import classification

CLASSES = ("a", "b", "c")


def settings(channels: int = 1, size: int = 4) -> Settings:
    return Settings(CLASSES, (), (1, 1, 1), channels, size, (0.5,) * channels, (0.25,) * channels)


def learner(network: nn.Module, values: Settings) -> Learner:
    return classification.learner(network, values).eval()


def test_a_linear_classifier_has_a_template_per_class() -> None:
    network = linear.build(Spec("classification", 3, 1, 4))
    weights = inspection.first_layer(network, settings())
    assert weights is not None
    expected = network.get_parameter("output.weight").detach().numpy()
    np.testing.assert_array_equal(weights, expected.reshape(3, 1, 4, 4))


def test_a_network_has_the_kernels_that_read_the_pixels() -> None:
    network = resnet.build(Spec("classification", 3, 3, 32))
    weights = inspection.first_layer(network, settings(3, 32))
    np.testing.assert_array_equal(weights, network.get_parameter("conv1.weight").detach().numpy())
    assert inspection.first_layer(network, settings(1, 32)) is None  # kernels of other channels are not of the pixels
    assert inspection.first_layer(nn.Sequential(nn.Flatten(), nn.Linear(5, 3)), settings()) is None


def test_a_tile_has_its_own_scale_and_middle_gray_is_zero() -> None:
    weights = np.array([[[[-2.0, 0], [1, 2]]], [[[0, 0.5], [0, 0]]], [[[0, 0], [0, 0]]]], np.float32)
    first, second, third = (tile[..., 0].tolist() for tile in inspection.tiles(weights))
    assert first == [[0, 128], [191, 255]]
    assert second == [[128, 255], [128, 128]]
    assert third == [[128, 128], [128, 128]]
    color = inspection.tiles(np.array([[[[1.0]], [[0]], [[-1]]]], np.float32))[0]
    assert color.tolist() == [[[255, 128, 0]]]


def clouds(number: int = 90) -> tuple[Tensor, NDArray[np.int64]]:
    """Two narrow classes side by side, and a wide one far away."""
    generator = np.random.default_rng(0)
    labels = generator.integers(3, size=number)
    centres, widths = np.array([[0.0, 0], [3, 0], [40, 40]]), np.array([1.0, 1, 5])
    return torch.from_numpy(centres[labels] + widths[labels, None] * generator.normal(size=(number, 2))), labels


def test_distances_equal_scikit_learns() -> None:
    features, labels = clouds()
    result = inspection.class_distances(features, labels, np.arange(90) * 2, CLASSES)
    distances = pairwise_distances(features.numpy())
    unit = distances[~np.eye(90, dtype=bool)].mean()
    for number, item in enumerate(result["classes"]):
        own = np.flatnonzero(labels == number)
        inside = distances[np.ix_(own, own)]
        assert item["within"] == pytest.approx(inside[~np.eye(len(own), dtype=bool)].mean() / unit, abs=1e-4)
        others = [distances[np.ix_(own, labels == other)].mean() / unit for other in range(3) if other != number]
        assert item["to_nearest"] == pytest.approx(min(others), abs=1e-4)
        assert item["between"] == pytest.approx(np.mean(others), abs=1e-4)
        order = own[inside.sum(axis=1).argsort()]
        assert (item["most_typical"], item["least_typical"]) == (2 * order[0], 2 * order[-1])
    assert [item["nearest"] for item in result["classes"]] == ["b", "a", "b"]
    assert result["classes"][2]["within"] > 2 * result["classes"][0]["within"]


def test_a_class_of_one_image_has_no_distance_within_and_is_left_out() -> None:
    features, _ = clouds(5)
    names = [
        item["class"]
        for item in inspection.class_distances(features, np.array([0, 0, 1, 2, 2]), np.arange(5), CLASSES)["classes"]
    ]
    assert names == ["a", "c"]
    assert inspection.class_distances(features, np.array([0, 0, 1, 0, 2]), np.arange(5), CLASSES) == {}
    assert inspection.class_distances(torch.zeros(4, 2).double(), np.array([0, 0, 1, 1]), np.arange(4), CLASSES) == {}


def stored(path: Path, number: int) -> Shards:
    """Images whose pixels all have the value of their index, of three classes in turn."""
    pixels = (np.full((4, 4, 3), index, np.uint8) for index in range(number))
    shards.write_shard(
        path / "test-00000.arrow",
        [Sample(str(index), item, group=str(index), label=index % 3) for index, item in enumerate(pixels)],
    )
    return shards.split(path, "test")


@pytest.mark.parametrize("most", [1000, 40])
def test_features_are_what_the_head_reads_and_belong_to_their_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(inspection, "MAX_IMAGES", most)
    model = learner(linear.build(Spec("classification", 3, 1, 4)), settings())
    shards = stored(tmp_path, 150)
    with inspection.collect_features(model, "linear", len(shards)) as collected:
        rows(predictor(model, "classification"), shards, "classification")
    inspection.write(tmp_path, model, shards, collected)
    result = store.read_json(tmp_path / "seeing.json")
    assert result["first_layer"] == [3, 1, 4, 4]
    assert result["features"] == 16
    assert result["images"] == (150 if most > 150 else len(torch.cat(collected))) <= max(most, 40) + 150 // 64
    for number, item in enumerate(result["classes"]):
        assert item["most_typical"] % 3 == item["least_typical"] % 3 == number  # the features of the right images
        assert item["least_typical"] in (number, 147 + number) or most < 150
        assert 50 <= item["most_typical"] <= 100
    assert images.decode(tmp_path / "seeing-first-layer.png").std() > 10


def test_a_network_without_a_head_is_not_inspected(tmp_path: Path) -> None:
    model = learner(nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 3, 1))), settings())
    with torch.no_grad(), inspection.collect_features(model, "unet", 5) as collected:
        model(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))
    inspection.write(tmp_path, model, stored(tmp_path, 5), collected)
    assert not collected
    assert not (tmp_path / "seeing.json").exists()


def test_a_network_that_runs_twice_per_image_has_weights_only(tmp_path: Path) -> None:
    model, shards = learner(linear.build(Spec("classification", 3, 1, 4)), settings()), stored(tmp_path, 6)
    with torch.no_grad(), inspection.collect_features(model, "linear", 6) as collected:
        model(torch.zeros(12, 1, 4, 4, dtype=torch.uint8))
    inspection.write(tmp_path, model, shards, collected)
    assert set(store.read_json(tmp_path / "seeing.json")) == {"first_layer"}
