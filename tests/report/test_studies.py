"""A claim's outcome follows from the numbers alone: reverse them and the outcome is reversed."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.params import Params
from pipeline.report import _studies, stage
from pipeline.report._studies import HELD, OPPOSITE, UNDECIDED, StudyResults
from pipeline.store import read_json, write_json
from tests.helpers import support
from tests.helpers.pages import Page

IMAGES = 100
CLAIMS = ["deep > flat", "flat < deep in parameters", "deep = flat in receptive_field", "deep > flat in ECE"]


def write_study(root: Path, claims: list[str] = CLAIMS, **settings: Any) -> Params:
    study = {
        "question": "Does depth <i>help</i>?",
        "paper": "Somebody 1999, https://example.org/a",
        "claims": claims,
        "base": support.LINEAR,
        "variants": {"flat": {}, "deep": {"epochs": 3}},
        **settings,
    }
    return support.write_params(root, {"own": {}}, studies={"depth": study}, roster=["own", "depth"])


def fill(root: Path, flat: tuple[float, ...], deep: tuple[float, ...]) -> None:
    """Write the outputs of evaluate and count: scores by seed, and resamples that both variants share."""
    generator = np.random.default_rng(0)
    shared = generator.normal(0, 0.01, IMAGES)
    counts = {}
    for variant, scores, parameters in (("flat", flat, 640), ("deep", deep, 12_345)):
        for seed, score in enumerate(scores):
            job = f"depth.{variant}.{seed}"
            own = generator.normal(0, 0.001, IMAGES)
            write_json(root / "metrics" / f"{job}.json", {"primary": "top1", "higher_is_better": True, "top1": score})
            folder = root / "evaluations" / job
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({"top1": score + shared + own}), folder / "draws.parquet")
            norms = {"layers": ["a", "b"], "before": [0.001, 1.0], "after": [0.1, 1.0]}
            write_json(folder / "gradients.json", norms)
            counts[job] = {"parameters": parameters, "receptive_field": 8}
    write_json(root / "reports/parameters.json", {"linear": {"jobs": counts}})


def read_study(root: Path, params: Params) -> StudyResults:
    (study,) = _studies.read(root, params)
    return study


def outcomes(root: Path, params: Params) -> list[str]:
    return [judged.outcome for judged in read_study(root, params).judge_claims()]


def test_the_outcome_follows_the_numbers(tmp_path: Path) -> None:
    params = write_study(tmp_path, ["deep > flat", "deep < flat", "deep = flat"])
    better, worse, varied = (0.90, 0.91, 0.905), (0.80, 0.81, 0.805), (0.75, 0.93, 0.99)
    for flat, deep, expected in (
        (worse, better, [HELD, OPPOSITE, OPPOSITE]),
        (better, worse, [OPPOSITE, HELD, OPPOSITE]),
        (better, varied, [UNDECIDED, UNDECIDED, UNDECIDED]),
    ):
        fill(tmp_path, flat, deep)
        assert outcomes(tmp_path, params) == expected


def test_counted_numbers_need_no_interval(tmp_path: Path) -> None:
    params = write_study(tmp_path)
    fill(tmp_path, (0.8, 0.81, 0.8), (0.9, 0.91, 0.9))
    assert outcomes(tmp_path, params) == [HELD, HELD, HELD, UNDECIDED]
    reasons = [judged.reasons[0] for judged in read_study(tmp_path, params).judge_claims()]
    assert "−11,705" in reasons[1]
    assert reasons[2].endswith("+0")
    assert all(name in reasons[3] for name in ("deep", "flat", "ECE"))


def test_paired_resamples_decide_although_the_intervals_overlap(tmp_path: Path) -> None:
    """Both variants share the variation of the test images, so it cancels in the difference."""
    params = write_study(tmp_path, ["deep > flat"])
    fill(tmp_path, (0.880, 0.881, 0.879), (0.890, 0.891, 0.889))
    study = read_study(tmp_path, params)
    flat, deep = study.estimate("flat", "top1"), study.estimate("deep", "top1")
    assert flat is not None
    assert deep is not None
    assert flat.high > deep.low
    assert outcomes(tmp_path, params) == [HELD]


def test_a_chain_has_the_outcome_of_its_worst_pair(tmp_path: Path) -> None:
    params = write_study(tmp_path, ["flat < deep < flat", "deep > flat = deep"])
    fill(tmp_path, (0.8, 0.81, 0.8), (0.9, 0.91, 0.9))
    assert outcomes(tmp_path, params) == [OPPOSITE, OPPOSITE]


def test_the_page_shows_the_study_and_keeps_its_jobs_out_of_the_ranking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = write_study(tmp_path, gradients=True)
    fill(tmp_path, (0.8, 0.81, 0.8), (0.9, 0.91, 0.9))
    stage.run(params, tmp_path)
    source = (tmp_path / "reports/index.html").read_text(encoding="utf-8")
    page = Page(source)
    assert "studies" in page.sections
    assert "Does depth <i>help</i>?" in page.text
    assert "Somebody 1999, example.org/a" in page.text
    assert "https://" not in source
    assert "0.903" in page.text  # the mean of deep
    assert "0.900, 0.910, 0.900" in page.text
    assert "12,345" in page.text
    assert source.count("gradient norm by convolution") == 2
    assert "depth.deep.0" not in page.text
    output = capsys.readouterr().out
    assert f"deep > flat: {HELD}" in output
    assert "+0.100" in output


def test_missing_and_failed_jobs_are_named(tmp_path: Path) -> None:
    params = write_study(tmp_path)
    stage.run(params, tmp_path)
    assert "depth.flat.0" in Page((tmp_path / "reports/index.html").read_text(encoding="utf-8")).text
    fill(tmp_path, (0.8, 0.81, 0.8), (0.9, 0.91, 0.9))
    write_json(tmp_path / "models/failed.json", {"depth.deep.1": {"reason": "the loss was nan"}})
    assert outcomes(tmp_path, params)[0] == UNDECIDED
    stage.run(params, tmp_path)
    page = Page((tmp_path / "reports/index.html").read_text(encoding="utf-8"))
    assert "depth.deep.1" in page.text
    assert "the loss was nan" in page.text
    assert read_json(tmp_path / "metrics/depth.deep.1.json") is not None  # of an earlier run, which is not shown


def test_no_accuracy_above_1_is_printed(tmp_path: Path) -> None:
    params = write_study(tmp_path, ["deep > flat"])
    fill(tmp_path, (0.60, 0.99, 0.02), (0.93, 0.99, 0.999))
    flat, deep = (read_study(tmp_path, params).estimate(variant, "top1") for variant in ("flat", "deep"))
    assert flat is not None
    assert deep is not None
    assert (flat.low, flat.high) == (0, 1)
    assert deep.value < deep.high == 1
    (judged,) = read_study(tmp_path, params).judge_claims()
    assert judged.outcome == UNDECIDED
    ends = [float(number.replace("−", "-")) for number in re.findall(r"[+−][0-9.]+", judged.reasons[0])]
    assert len(ends) == 3
    assert all(-1 <= number <= 1 for number in ends)


def test_an_undefined_score_leaves_a_claim_undecided(tmp_path: Path) -> None:
    params = write_study(tmp_path, ["deep > flat"])
    fill(tmp_path, (0.8, 0.81, 0.8), (0.9, 0.91, 0.9))
    path = tmp_path / "metrics/depth.deep.1.json"
    write_json(path, read_json(path) | {"top1": None, "undefined": {"top1": "no image in test"}})
    assert outcomes(tmp_path, params) == [UNDECIDED]
    assert read_study(tmp_path, params).estimate("deep", "top1") is None
