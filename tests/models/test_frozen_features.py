"""Frozen features: the network stays as it was, the head is fitted, features are computed once and shared."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pipeline import checkpoint, params, sample, store
from pipeline.augment.fit import Fit
from pipeline.errors import UserError
from pipeline.learners.frozen_features import FrozenFeatures
from pipeline.models.parts.spec import Spec, build_network
from pipeline.shards import split
from pipeline.tasks import classification
from pipeline.train import checks, features
from tests.helpers import few_digits, support

BACKBONE: dict[str, Any] = {"backbone": "resnet", "backbone_options": {"depth": 20, "width": 4}}
FROZEN: dict[str, Any] = {"architecture": "frozen_features", "options": BACKBONE, "size": 16, "epochs": 0, "batch": 50}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs on one network that differ in their head alone."""
    root = tmp_path_factory.mktemp("frozen")
    network = build_network("resnet", Spec("classification", 10, 1, 16), BACKBONE["backbone_options"])
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, root / "given.safetensors")
    job = {**FROZEN, "pretrained": {"file": "given.safetensors"}}
    written = support.write_params(root, {"logistic": job, "ridge": {**job, "loss": {"head": "ridge"}}})
    with few_digits.only(500):
        support.prepared(root, written)
    support.train_all(list(support.job_specs(root, written).values()))
    return root


def _model(root: Path, name: str) -> Path:
    return support.job_specs(root, params.read(root / "params.yaml"))[name].model


def test_only_the_head_differs_from_the_weights_that_were_given(project: Path) -> None:
    given = load_file(project / "given.safetensors")
    trained = load_file(_model(project, "logistic") / checkpoint.WEIGHTS)
    changed = {name for name in trained if not torch.equal(trained[name], given[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_what_is_stored_answers_as_the_head_that_was_fitted(project: Path) -> None:
    """Random features of digits suffice for far more than chance, and the record says what val chose."""
    learner, _ = checkpoint.load(_model(project, "logistic"))
    assert isinstance(learner, FrozenFeatures)
    prepared = project / "data/prepared/digits"
    test = [Fit(16).begin(item) for item in split(prepared, "test")]
    images, labels = classification.collate(test, learner.settings)
    with torch.inference_mode():
        accuracy = float((torch.from_numpy(learner(images)).argmax(1) == labels).float().mean())
    assert accuracy > 0.5


def test_jobs_that_differ_in_their_head_share_features(project: Path) -> None:
    folders = [path for path in (project / features.FOLDER).iterdir() if path.is_dir()]
    assert len(folders) == 2  # train and val
    for folder in folders:
        assert all(store.holds(chunk, folder.name) for chunk in folder.iterdir())


def test_a_killed_run_goes_on_with_the_next_chunk_and_a_damaged_one_is_made_again(tmp_path: Path) -> None:
    computed: list[int] = []

    class Doubled(nn.Module):
        def features(self, images: torch.Tensor) -> torch.Tensor:
            computed.extend(images.tolist())
            return images[:, None].float() * 2

    def batches(plan: Any) -> Any:
        return ((torch.tensor([at for _, at in keys]), torch.tensor([at % 3 for _, at in keys])) for keys in plan)

    def bring(fail_after: int | None = None) -> Any:
        notes: list[Any] = []

        def note(**entries: Any) -> None:
            notes.append(entries)
            if len(notes) == fail_after:
                raise KeyboardInterrupt

        return features.bring(tmp_path / "digest", 600, 100, Doubled(), batches, note)  # type: ignore[arg-type]

    with pytest.raises(KeyboardInterrupt):
        bring(fail_after=1)
    assert computed == list(range(features.CHUNK))
    computed.clear()
    vectors = bring()
    assert computed == list(range(features.CHUNK, 600))
    assert np.array_equal(vectors.features[:, 0], np.arange(600) * 2)
    assert np.array_equal(vectors.labels, np.arange(600) % 3)
    computed.clear()
    damaged = tmp_path / "digest/000000256" / features.FEATURES
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.chmod(0o644)
    damaged.write_bytes(data)
    assert np.array_equal(bring().features, vectors.features)
    assert computed == list(range(256, 512))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"epochs": 3}, "epochs"),
        ({"augmentation": "light"}, "augmentation"),
        ({"loss": {"head": "forest"}}, "loss.head"),
        ({"options": {"backbone": "conv_only"}}, "options.backbone"),
    ],
)
def test_what_can_not_be_is_refused_before_training(
    project: Path, tmp_path: Path, changed: dict[str, Any], field: str
) -> None:
    facts = sample.facts(project / "data/prepared/digits")
    job = support.write_params(tmp_path, {"wrong": {**FROZEN, **changed}}).jobs["wrong"]
    with pytest.raises(UserError, match=rf"jobs\.wrong\.{field}"):
        checks.buildable("wrong", job, facts)
