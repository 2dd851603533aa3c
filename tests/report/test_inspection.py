"""Label issues need a confident ensemble; the section shows what is stored and leaves out what is missing."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from pipeline import images
from pipeline.params import Params
from pipeline.report._label_issues import MIN_PROBABILITY, find_label_issues
from pipeline.report.results import read
from pipeline.report.sections import inspection
from pipeline.shards import split
from tests.helpers import fabricate


def rows(*predictions: tuple[int, float]) -> pa.Table:
    """A classifier's rows for images that all carry label 0."""
    predicted, confidence = zip(*predictions, strict=True)
    return pa.table({"label": [0] * len(predicted), "prediction": predicted, "confidence": confidence})


def test_only_a_confident_ensemble_gives_label_issues() -> None:
    correct = [(0, 1.0)] * 20  # so that the ensemble is right on most images
    one = rows((0, 1.0), (1, 0.9), (1, 0.9), (1, 0.6), (2, 0.7), *correct)
    two = rows((0, 1.0), (1, 0.8), (2, 0.9), (1, 0.6), (2, 0.9), *correct)
    issues = find_label_issues([one, two])
    assert isinstance(issues, list)
    # agreed and correct; agreed, confident and wrong; not agreed; agreed but not confident; agreed, confident and wrong
    assert [(item.index, item.predicted) for item in issues] == [(1, 1), (4, 2)]
    assert [item.probability for item in issues] == pytest.approx([0.85, 0.8])
    assert find_label_issues([one, two, rows(*[(0, 1.0)] * 25)]) == []  # outvoted
    assert "two classifiers" in find_label_issues([one])  # one network is no ensemble


def test_an_ensemble_that_is_often_wrong_doubts_no_label() -> None:
    wrong, right = [(1, 0.99)] * 52, [(0, 0.99)] * 48
    why = find_label_issues([rows(*wrong, *right)] * 2)
    assert isinstance(why, str)
    assert "right on 48%" in why
    assert isinstance(find_label_issues([rows(*wrong[:19], *[(0, 0.99)] * 81)] * 2), list)


def test_the_probability_is_a_lower_bound_that_decides_the_ensembles_class() -> None:
    """Against full probabilities, which rows do not hold."""
    generator = np.random.default_rng(0)
    truth = generator.integers(4, size=400)
    likely = np.where(generator.random(400) < 0.1, generator.integers(4, size=400), truth)
    logits = generator.normal(size=(3, 400, 4)) * 1.5 + 5 * np.eye(4)[likely]
    probabilities: NDArray[Any] = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    tables = [
        pa.table({"label": truth, "prediction": item.argmax(axis=1), "confidence": item.max(axis=1)})
        for item in probabilities
    ]
    ensemble = probabilities.mean(axis=0)
    issues = find_label_issues(tables)
    assert isinstance(issues, list)
    assert len(issues) > 10
    for item in issues:
        assert ensemble[item.index].argmax() == item.predicted != truth[item.index] == item.label
        assert MIN_PROBABILITY <= item.probability <= ensemble[item.index].max() + 1e-12
    assert issues == sorted(issues, key=lambda item: -item.probability)
    agreed = (np.ptp([table["prediction"].to_numpy() for table in tables], axis=0) == 0) & (
        ensemble.max(axis=1) > MIN_PROBABILITY
    )
    expected = set(np.flatnonzero(agreed & (ensemble.argmax(axis=1) != truth)))
    assert expected <= {item.index for item in issues}


@pytest.fixture
def params() -> Params:
    return fabricate.params({name: fabricate.job(name) for name in ("linear", "lenet5")})


@pytest.fixture
def root(tmp_path: Path, params: Params) -> Path:
    fabricate.dataset(tmp_path, "digits")
    for name, score in (("linear", 0.9), ("lenet5", 0.95)):
        fabricate.measured(tmp_path, name, params.jobs[name], {"top1": score})
        fabricate.inspected(tmp_path, name, params.jobs[name], wrong=4)
    return tmp_path


def test_an_image_with_a_label_issue_is_shown_with_its_label(root: Path, params: Params) -> None:
    html = inspection.render(read(root, params))
    caption = re.search(r"<figcaption>[^<]*<b>0</b>[^<]*<b>2</b>([^<]*)</figcaption>", html)
    assert caption is not None
    assert "0.90" in caption[1]
    assert "1 of 6 test images, by linear, lenet5" in html
    pixels = split(root / "data/prepared/digits", "test")[4].pixels
    assert html.count(images.data_uri(pixels)) == 1


def test_class_distances_are_those_of_the_best_classifier(root: Path, params: Params) -> None:
    html = inspection.render(read(root, params))
    (heading,) = re.findall(r"<h4>digits <small>features of (\w+)</small>", html)
    assert heading == "lenet5"
    assert "&lt;1" in html
    assert "<1<" not in html
    pixels = split(root / "data/prepared/digits", "test")[1].pixels
    assert html.count(images.data_uri(pixels)) == 2


def test_rows_of_other_images_are_no_part_of_the_ensemble(root: Path, params: Params) -> None:
    path = root / "evaluations/linear/test.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    html = inspection.render(read(root, params))
    assert "no label is doubted by lenet5: that takes two" in html


def test_a_part_without_content_is_left_out(root: Path, params: Params) -> None:
    for name in params.jobs:
        path = root / "evaluations" / name / "seeing.json"
        path.write_text(json.dumps({"first_layer": [6, 1, 5, 5]}))
    html = inspection.render(read(root, params))
    assert "First layer" in html
    assert "Class variability" not in html
    for name in params.jobs:
        for file in (root / "evaluations" / name).iterdir():
            file.unlink()
    assert inspection.render(read(root, params)) == ""


def test_a_poor_ensemble_is_said_to_doubt_nothing(root: Path, params: Params) -> None:
    for name in params.jobs:
        path = root / "evaluations" / name / "test.parquet"
        table = pq.read_table(path)
        pq.write_table(table.set_column(2, "prediction", pa.array([2, 2, 2, 1, 0, 1])), path)
    html = inspection.render(read(root, params))
    assert re.search(r"digits: no label is doubted by linear, lenet5: .*50% of the test images", html)
