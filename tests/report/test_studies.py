"""A claim's verdict comes from the numbers alone: turn them round and the word turns round."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.params import Params
from pipeline.report import _studies, stage
from pipeline.report._studies import HELD, OPPOSITE, UNDECIDED, Trial
from pipeline.store import read_json, write_json
from tests.helpers import support
from tests.helpers.pages import Page

IMAGES = 100
CLAIMS = ["deep > flat", "flat < deep in parameters", "deep = flat in receptive_field", "deep > flat in ECE"]


def params(root: Path, claims: list[str] = CLAIMS, **settings: Any) -> Params:
    study = {
        "question": "Does depth <i>help</i>?",
        "paper": "Somebody 1999, https://example.org/a",
        "claims": claims,
        "base": {key: value for key, value in support.LINEAR.items() if key != "core"},
        "variants": {"flat": {}, "deep": {"epochs": 3}},
        **settings,
    }
    return support.write_params(root, {"own": {}}, studies={"depth": study}, roster=["own", "depth"])


def fill(root: Path, flat: tuple[float, ...], deep: tuple[float, ...]) -> None:
    """What evaluate and count leave: scores by seed, and their resamples over images that are hard for both."""
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


def trial(root: Path, made: Params) -> Trial:
    (found,) = _studies.read(root, made)
    return found


def words(root: Path, made: Params) -> list[str]:
    return [verdict.word for verdict in trial(root, made).verdicts()]


def test_the_word_follows_the_numbers(tmp_path: Path) -> None:
    made = params(tmp_path, ["deep > flat", "deep < flat", "deep = flat"])
    better, worse, varied = (0.90, 0.91, 0.905), (0.80, 0.81, 0.805), (0.75, 0.93, 0.99)
    for flat, deep, expected in (
        (worse, better, [HELD, OPPOSITE, OPPOSITE]),
        (better, worse, [OPPOSITE, HELD, OPPOSITE]),
        (better, varied, [UNDECIDED, UNDECIDED, UNDECIDED]),
    ):
        fill(tmp_path, flat, deep)
        assert words(tmp_path, made) == expected


def test_counted_numbers_need_no_interval(tmp_path: Path) -> None:
    made = params(tmp_path)
    fill(tmp_path, (0.8, 0.81, 0.8), (0.9, 0.91, 0.9))
    assert words(tmp_path, made) == [HELD, HELD, HELD, UNDECIDED]
    reasons = [verdict.reasons[0] for verdict in trial(tmp_path, made).verdicts()]
    assert reasons[1:3] == ["flat − deep in parameters: −11,705", "deep − flat in receptive_field: +0"]
    assert reasons[3] == "not every job of deep and flat has ECE"


def test_the_same_images_settle_what_separate_intervals_leave_open(tmp_path: Path) -> None:
    """Paired: what is hard in the test images is hard for both, so it does not blur the difference."""
    made = params(tmp_path, ["deep > flat"])
    fill(tmp_path, (0.880, 0.881, 0.879), (0.890, 0.891, 0.889))
    found = trial(tmp_path, made)
    flat, deep = found.estimate("flat", "top1"), found.estimate("deep", "top1")
    assert flat is not None
    assert deep is not None
    assert flat.high > deep.low
    assert [verdict.word for verdict in found.verdicts()] == [HELD]


def test_a_chain_is_as_good_as_its_worst_link(tmp_path: Path) -> None:
    made = params(tmp_path, ["flat < deep < flat", "deep > flat = deep"])
    fill(tmp_path, (0.8, 0.81, 0.8), (0.9, 0.91, 0.9))
    assert words(tmp_path, made) == [OPPOSITE, OPPOSITE]


def test_the_page_shows_the_study_and_keeps_its_jobs_out_of_the_ranking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = params(tmp_path, gradients=True)
    fill(tmp_path, (0.8, 0.81, 0.8), (0.9, 0.91, 0.9))
    stage.run(made, tmp_path)
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
    assert "report: depth: deep > flat: held (deep − flat in top1: +0.100" in capsys.readouterr().out


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    made = params(tmp_path)
    stage.run(made, tmp_path)
    assert "Not measured yet: depth.flat.0" in (tmp_path / "reports/index.html").read_text(encoding="utf-8")
    fill(tmp_path, (0.8, 0.81, 0.8), (0.9, 0.91, 0.9))
    write_json(tmp_path / "models/failed.json", {"depth.deep.1": {"reason": "the loss was nan"}})
    assert words(tmp_path, made)[0] == UNDECIDED
    stage.run(made, tmp_path)
    page = Page((tmp_path / "reports/index.html").read_text(encoding="utf-8"))
    assert "depth.deep.1 failed: the loss was nan" in page.text
    assert read_json(tmp_path / "metrics/depth.deep.1.json") is not None  # of an earlier run, and not shown
