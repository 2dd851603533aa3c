"""Feature extractors: the cache returns features of equal bytes only, and the network of 2015 equals its reference."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline import checkpoint, pretrained_weights, store
from pipeline.errors import UserError
from pipeline.learners import feature_extractor
from pipeline.models.parts import inception_2015
from tests.helpers import support

NAME = "inception"


def batch(seed: int = 0, number: int = 3) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (number, 1, 16, 16), dtype=torch.uint8, generator=source)


class Counted:
    """An extractor that counts the batches it is given; its features are the pixels."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.batches = 0
        monkeypatch.setattr(feature_extractor, "extract", self.extract)

    def extract(self, _extractor: Any, images: Tensor) -> Any:
        self.batches += 1
        return images.flatten(1).float().numpy(), np.full((len(images), 2), self.batches, np.float32)


@pytest.mark.parametrize("stored", [False, True])
def test_a_batch_is_extracted_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stored: bool) -> None:
    extractor: Any = Counted(monkeypatch)
    cache = feature_extractor.FeatureCache(extractor, tmp_path / "f" if stored else None)
    first = cache.extract(batch())
    again = cache.extract(batch().clone())
    np.testing.assert_array_equal(first[0], batch().flatten(1).float().numpy())
    assert extractor.batches == 1
    np.testing.assert_array_equal(first[1], again[1])
    for other in (batch(1), batch()[:2], batch().view(3, 1, 8, 32), batch().flip(0)):  # equal bytes or nearly
        np.testing.assert_array_equal(cache.extract(other)[0], other.flatten(1).float().numpy())
    assert extractor.batches == 5


def test_another_process_reads_it_and_a_damaged_entry_is_computed_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    extractor: Any = Counted(monkeypatch)
    first = feature_extractor.FeatureCache(extractor, tmp_path).extract(batch())
    again = feature_extractor.FeatureCache(extractor, tmp_path).extract(batch())
    assert extractor.batches == 1
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    (file,) = tmp_path.glob("*/features.npz")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    third = feature_extractor.FeatureCache(extractor, tmp_path).extract(batch())
    assert extractor.batches == 2
    np.testing.assert_array_equal(third[0], first[0])
    feature_extractor.FeatureCache(extractor, tmp_path / "of another extractor").extract(batch())
    assert extractor.batches == 3


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of random weights in torch.hub's folder, registered as the published one."""
    torch.manual_seed(0)
    network = inception_2015.Inception()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub/checkpoints"
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "new.pth")
    digest = store.file_digest(folder / "new.pth")[:8]
    monkeypatch.setitem(pretrained_weights.EXTRACTORS, NAME, f"file:///nowhere/weights-{digest}.pth")
    return (folder / "new.pth").rename(folder / f"weights-{digest}.pth")


@torch.inference_mode()
def test_the_network_of_2015_scales_images_as_its_reference_does(weights: Path, tmp_path: Path) -> None:
    source, digest = pretrained_weights.extractor(tmp_path, NAME)
    assert source == weights
    extractor, description = checkpoint.load(source)
    assert (extractor.name[: len(NAME) + 9], description) == (f"{NAME}@{digest}", {})
    assert feature_extractor.head(extractor) == "fc"
    gray = batch(number=2)
    features, probabilities = feature_extractor.extract(extractor, gray)
    assert features.shape == (2, 2048)
    assert probabilities.shape == (2, 1008)
    network: Any = extractor.network
    given = (inception_2015.resized(gray.float().expand(-1, 3, -1, -1)) - 128) / 128
    whole = nn.Sequential(*list(network.children())[:-1])
    np.testing.assert_allclose(features, whole(given), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(probabilities, network(given).softmax(1), rtol=1e-4)


def test_a_file_that_is_missing_or_another_is_named_with_its_address(weights: Path, tmp_path: Path) -> None:
    weights.write_bytes(b"something else")
    with pytest.raises(UserError, match=rf"^extractor: {weights} is not the file at file:///nowhere/"):
        pretrained_weights.extractor(tmp_path, NAME)
    weights.unlink()
    with pytest.raises(UserError, match=rf"(?s)^extractor: inception can't be .*put the file at {weights}\."):
        pretrained_weights.extractor(tmp_path, NAME)


def test_its_name_in_params(tmp_path: Path) -> None:
    job = {"task": "generation", "architecture": "dcgan", "size": 32, "extractor": NAME}
    params = support.write_params(tmp_path, {"gan": job})
    assert params.jobs["gan"].sources == {}
    with pytest.raises(UserError, match=r"jobs\.gan\.extractor: no job is named 'incepton'; did you mean 'inception'"):
        support.write_params(tmp_path, {"gan": {**job, "extractor": "incepton"}})
    with pytest.raises(UserError, match=r"jobs\.inception: .*Rename the job"):
        support.write_params(tmp_path, {"inception": {}})
    with pytest.raises(UserError, match=r"pretrained\.weights: inception only measures"):
        support.write_params(tmp_path, {"a": {"pretrained": {"weights": NAME}}})
