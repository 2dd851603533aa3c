"""Labels are doubted only where classifiers agree and are sure; the section shows what there is and nothing else."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from pipeline import images
from pipeline.params import Params
from pipeline.report._doubt import SURE, doubts
from pipeline.report.results import read
from pipeline.report.sections import seeing
from pipeline.sample import split
from tests.helpers import fabricate


def rows(*predictions: tuple[int, float]) -> pa.Table:
    """A classifier's rows for images that all carry label 0."""
    predicted, confidence = zip(*predictions, strict=True)
    return pa.table({"label": [0] * len(predicted), "prediction": predicted, "confidence": confidence})


def test_only_a_sure_ensemble_doubts_a_label() -> None:
    one = rows((0, 1.0), (1, 0.9), (1, 0.9), (1, 0.6), (2, 0.7))
    two = rows((0, 1.0), (1, 0.8), (2, 0.9), (1, 0.6), (2, 0.9))
    found = doubts([one, two])
    # agreed and right; agreed, sure and wrong; of two minds; agreed but unsure; agreed, sure and wrong
    assert [(item.place, item.taken_for) for item in found] == [(1, 1), (4, 2)]
    assert [item.share for item in found] == pytest.approx([0.85, 0.8])
    assert doubts([one, two, rows(*[(0, 1.0)] * 5)]) == []  # outvoted
    assert doubts([one]) == doubts([]) == []  # one network's mistakes are no ensemble's


def test_the_share_is_a_bound_that_decides_the_ensembles_class() -> None:
    """Against whole probabilities, which rows do not hold."""
    generator = np.random.default_rng(0)
    truth = generator.integers(4, size=400)
    logits = generator.normal(size=(3, 400, 4)) * 3 + 3 * np.eye(4)[generator.integers(4, size=400)]
    probabilities: NDArray[Any] = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    tables = [
        pa.table({"label": truth, "prediction": item.argmax(axis=1), "confidence": item.max(axis=1)})
        for item in probabilities
    ]
    ensemble = probabilities.mean(axis=0)
    found = doubts(tables)
    assert len(found) > 30
    for item in found:
        assert ensemble[item.place].argmax() == item.taken_for != truth[item.place] == item.label
        assert SURE <= item.share <= ensemble[item.place].max() + 1e-12
    assert found == sorted(found, key=lambda item: -item.share)
    agreed = (np.ptp([table["prediction"].to_numpy() for table in tables], axis=0) == 0) & (ensemble.max(axis=1) > SURE)
    expected = set(np.flatnonzero(agreed & (ensemble.argmax(axis=1) != truth)))
    assert expected <= {item.place for item in found}


@pytest.fixture
def params() -> Params:
    return fabricate.params({name: fabricate.job(name) for name in ("linear", "lenet5")})


@pytest.fixture
def root(tmp_path: Path, params: Params) -> Path:
    fabricate.dataset(tmp_path, "digits")
    for name, score in (("linear", 0.9), ("lenet5", 0.95)):
        fabricate.measured(tmp_path, name, params.jobs[name], {"top1": score})
        fabricate.seen(tmp_path, name, params.jobs[name], wrong=4)
    return tmp_path


def test_the_doubted_image_is_shown_with_its_label(root: Path, params: Params) -> None:
    html = seeing.render(read(root, params))
    assert "labelled <b>0</b>, taken for <b>2</b> 0.90" in html
    assert "1 of 6 test images, by linear, lenet5" in html
    pixels = split(root / "data/prepared/digits", "test")[4].pixels
    assert html.count(images.data_uri(pixels)) == 1


def test_classes_are_as_the_best_classifier_sees_them(root: Path, params: Params) -> None:
    html = seeing.render(read(root, params))
    assert "as lenet5 sees it" in html
    assert "as linear sees it" not in html
    assert "&lt;1" in html
    assert "<1<" not in html
    pixels = split(root / "data/prepared/digits", "test")[1].pixels
    assert html.count(images.data_uri(pixels)) == 2


def test_rows_of_other_images_are_no_part_of_the_ensemble(root: Path, params: Params) -> None:
    path = root / "evaluations/linear/test.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    assert "Labels in doubt" not in seeing.render(read(root, params))


def test_a_part_without_anything_to_show_is_left_out(root: Path, params: Params) -> None:
    for name in params.jobs:
        path = root / "evaluations" / name / "seeing.json"
        path.write_text(json.dumps({"first_layer": [6, 1, 5, 5]}))
    html = seeing.render(read(root, params))
    assert "First layer" in html
    assert "Class variability" not in html
    for name in params.jobs:
        for file in (root / "evaluations" / name).iterdir():
            file.unlink()
    assert seeing.render(read(root, params)) == ""
