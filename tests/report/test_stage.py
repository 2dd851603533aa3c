"""The report is one safe, self-contained, reproducible page, whatever is missing; sections keep their contract."""

import base64
import hashlib
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import plugins
from pipeline.params import Params
from pipeline.report import stage
from pipeline.report._charts import Axis, Point, label_points, pareto_front
from pipeline.report.results import read
from pipeline.report.sections import tradeoffs
from pipeline.report.sections.leaderboard import NEAR_BEST
from pipeline.store import read_json, write_json
from tests.helpers import fabricate
from tests.helpers.pages import Page

KIND = "report.sections"


@pytest.fixture
def params() -> Params:
    lenet5, dcgan = fabricate.job("lenet5"), fabricate.job("dcgan", task="generation")
    jobs = {"plain": fabricate.job("linear"), "lenet5": lenet5, "broken": lenet5, "dcgan": dcgan, "dcgan-wide": dcgan}
    return fabricate.params(jobs)


@pytest.fixture
def root(tmp_path: Path, params: Params) -> Path:
    jobs = params.jobs
    fabricate.measured(tmp_path, "plain", jobs["plain"], {"top1": 0.91, "top5": 0.99, "recall[<i>3]": 0.8}, seed=0)
    fabricate.measured(tmp_path, "lenet5", jobs["lenet5"], {"top1": 0.985, "top5": 1.0, "recall[<i>3]": 0.9}, seed=2)
    fabricate.measured(tmp_path, "dcgan", jobs["dcgan"], {"FID[lenet5]": 31.0}, higher=False, seed=3)
    fabricate.measured(tmp_path, "dcgan-wide", jobs["dcgan-wide"], {"FID[lenet5]": 12.0}, higher=False, seed=4)
    for name in ("plain", "lenet5"):
        fabricate.inspected(tmp_path, name, jobs[name], wrong=4)
    fabricate.failed(tmp_path, "broken", "the loss was <b>nan</b> & stayed so")
    fabricate.champion(tmp_path, "plain", jobs["plain"], "lenet5")
    fabricate.dataset(tmp_path, "digits", warnings=("<script>alert(1)</script>.png: twice in the data",))
    return tmp_path


def _page(root: Path, params: Params) -> str:
    stage.run(params, root)
    return (root / "reports" / "index.html").read_text(encoding="utf-8")


def test_every_section_and_job_is_there(root: Path, params: Params) -> None:
    page = Page(_page(root, params))
    ordered = sorted(plugins.names(KIND), key=lambda name: int(plugins.constant(KIND, name, "ORDER")))
    assert page.sections == [name for name in ordered if name != "studies"]  # there is none here
    assert all(job in page.text for job in params.jobs)


def test_the_page_loads_nothing(root: Path, params: Params) -> None:
    source = _page(root, params)
    assert "http://" not in source
    assert "https://" not in source
    page = Page(source)
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    targets = {address[1:] for address in page.addresses if address.startswith("#")}
    assert all(f'id="{target}"' in source for target in targets)


def test_the_page_holds_its_style_and_allows_its_script_by_digest(root: Path, params: Params) -> None:
    source = _page(root, params)
    folder = Path(stage.__file__).parent
    assert folder.joinpath("style.css").read_text(encoding="utf-8") in source
    script = source.partition("<script>")[2].partition("</script>")[0]
    assert folder.joinpath("report.js").read_text(encoding="utf-8") == script.lstrip("\n")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in source


def test_data_is_escaped(root: Path, params: Params) -> None:
    source = _page(root, params)
    assert "the loss was &lt;b&gt;nan&lt;/b&gt; &amp; stayed so" in source
    assert "<script>alert" not in source
    assert "&lt;script&gt;alert(1)" in source


def test_control_characters_are_written_as_escapes(root: Path, params: Params) -> None:
    fabricate.failed(root, "broken", "\x1b[2Jthe\x00 loss\u202e\nwas nan")
    source = _page(root, params)
    assert "\\x1b[2Jthe\\x00 loss\\u202e\nwas nan" in source


def test_equal_inputs_give_equal_bytes(root: Path, params: Params) -> None:
    assert _page(root, params) == _page(root, params)


def test_only_params_is_enough(tmp_path: Path, params: Params) -> None:
    page = Page(_page(tmp_path, params))
    assert page.sections == ["leaderboard", "filters"]
    assert ", ".join(params.jobs) in page.text  # as not measured


@pytest.mark.parametrize("missing", ["models", "metrics", "evaluations", "data", "reports"])
def test_any_input_may_be_missing(root: Path, params: Params, missing: str) -> None:
    (root / missing).rename(root / f"no-{missing}")
    Page(_page(root, params))


def test_a_ranking_follows_the_direction_of_its_metric(root: Path, params: Params) -> None:
    rankings = {ranking.task: ranking for ranking in read(root, params).rankings()}
    assert rankings["classification"].jobs == ("lenet5", "plain")
    assert rankings["generation"].jobs == ("dcgan-wide", "dcgan")


def test_another_limit_of_detections_is_noted(tmp_path: Path) -> None:
    jobs = {name: fabricate.job("yolo", task="detection") for name in ("few", "many")}
    noted = []
    for limit in ({}, {"detections": 300}):
        for name, job in jobs.items():
            fabricate.measured(tmp_path, name, job, {"box_mAP": 0.4, "box_AR300": 0.5})
            path = tmp_path / "metrics" / f"{name}.json"
            write_json(path, read_json(path) | limit)
        noted.append("At most 300 detections" in _page(tmp_path, fabricate.params(jobs)))
    assert noted == [False, True]


def test_scores_of_single_classes_do_not_widen_the_table(root: Path, params: Params) -> None:
    results = read(root, params)
    assert results.metric_names(("plain", "lenet5")) == ["top1", "top5"]


def test_overlapping_intervals_are_marked(root: Path, params: Params) -> None:
    before = Page(_page(root, params)).text.count(NEAR_BEST)
    fabricate.measured(root, "plain", params.jobs["plain"], {"top1": 0.98})
    assert Page(_page(root, params)).text.count(NEAR_BEST) == before + 1


def test_a_failed_job_shows_nothing_of_its_earlier_version(root: Path, params: Params) -> None:
    fabricate.failed(root, "lenet5", "failed after 3 attempts")
    results = read(root, params)
    assert "lenet5" not in results.metrics
    assert "lenet5" in Page(_page(root, params)).text


def test_a_champion_out_of_the_roster_is_shown_with_its_score(root: Path, params: Params) -> None:
    entry = read_json(root / "reports/registered.json")["digits-classification"]
    absent = {"champion": {"job": "<gone>", "fingerprint": "f"}, "score": "top1 0.9 [0.8, 1.0] on test"}
    write_json(root / "reports/registered.json", {"digits-classification": entry, "other-classification": absent})
    stage.run(params, root)
    text = Page((root / "reports/index.html").read_text()).text
    assert text.count("top1 0.9 [0.8, 1.0] on test") == 1
    assert "<gone>" in text


def test_a_champion_of_other_settings_is_an_earlier_version(root: Path, params: Params) -> None:
    assert read(root, params).roles("plain") == ["champion"]
    fabricate.champion(root, "plain", params.jobs["plain"], "lenet5")
    path = root / "models" / "plain" / "model.json"
    path.write_text(path.read_text().replace("plain0000000", "retrained000"))
    assert read(root, params).roles("plain") == ["champion: an earlier version"]


@pytest.mark.parametrize("name", plugins.names(KIND))
def test_contract_of_a_section(name: str, root: Path, params: Params) -> None:
    assert isinstance(plugins.constant(KIND, name, "TITLE"), str)
    assert isinstance(plugins.constant(KIND, name, "ORDER"), int)
    assert isinstance(plugins.load(KIND, name).render(read(root, params)), str)


def test_no_two_sections_have_the_same_order() -> None:
    orders = [plugins.constant(KIND, name, "ORDER") for name in plugins.names(KIND)]
    assert len(set(orders)) == len(orders)


def test_a_label_ends_or_starts_at_its_point() -> None:
    centres = [(300.0, 100.0), (330.0, 100.0)]
    first, second = label_points(centres, ["a long name", "b"], (50, 0, 400, 200))
    # at the right, the first label would cover the other point
    assert '<text x="291.0" y="104.0" text-anchor="end"' in first
    assert '<text x="339.0" y="104.0" text-anchor="start"' in second
    assert label_points(centres, ["a long name", "b"], (295, 95, 345, 105)) == []


def test_an_axis_has_three_ticks_or_more() -> None:
    for low, high in ((0.03, 0.58), (0.03, 0.51), (0.9, 0.99), (0, 1), (-3, 17)):
        assert 3 <= len(Axis(low, high, 0, 100).ticks()) <= 8


def test_the_pareto_front_has_the_models_that_nothing_cheaper_beats() -> None:
    points = [Point(name, x, y, None, None) for name, x, y in (("a", 1, 5), ("b", 2, 4), ("c", 3, 6), ("d", 3, 3))]
    assert [point.name for point in pareto_front(points, higher_is_better=True)] == ["a", "c"]
    assert [point.name for point in pareto_front(points, higher_is_better=False)] == ["a", "b", "d"]


def test_keypoints_are_named(root: Path, params: Params) -> None:
    path = root / "data/prepared/digits/dataset.json"
    write_json(path, read_json(path) | {"keypoints": ["left eye", "<nose>"]})
    assert "left eye, &lt;nose&gt;" in _page(root, params)


def test_training_images_are_shown_with_their_annotations_if_they_are_here(root: Path, params: Params) -> None:
    prepared, title = root / "data/prepared/digits", "As annotated, before training."
    absent = _page(root, params).count(title)
    shutil.copy(prepared / "test-00000.arrow", prepared / "train-00000.arrow")
    assert (absent, _page(root, params).count(title)) == (0, 1)


def test_old_names_of_metrics_are_shown_as_todays(tmp_path: Path) -> None:
    params = fabricate.params({"cam": fabricate.job("cam", task="localization")})
    fabricate.measured(tmp_path, "cam", params.jobs["cam"], {"loc_acc": 0.4, "top1": 0.6})
    results = read(tmp_path, params)
    assert results.metric_names(("cam",)) == ["localization_accuracy", "top1"]
    assert results.rankings()[0].primary == "localization_accuracy"
    source = _page(tmp_path, params)
    assert "loc_acc" not in source
    assert "val localization_accuracy" in source  # the learning curve


def test_an_undefined_score_is_said_with_its_reason(root: Path, params: Params) -> None:
    path = root / "metrics/plain.json"
    write_json(path, read_json(path) | {"top1": None, "top1_low": None, "undefined": {"top1": "no <b> in test"}})
    source = _page(root, params)
    assert "undefined: no &lt;b&gt; in test" in source
    assert next(ranking.jobs for ranking in read(root, params).rankings()) == ("lenet5", "plain")


def test_latency_is_shown_with_its_spread_where_it_was_measured(root: Path, params: Params) -> None:
    source = _page(root, params)
    assert "0.0800" in source
    assert "0.0720–0.0960" in source
    assert "2 threads of Z80" in source
    assert 'class="absent">not measured<' not in source


@pytest.mark.parametrize(
    "change", [{"latency_ms": None, "not_measured": "others"}, {"processor": None, "latency_ms": None}]
)
def test_no_front_is_drawn_from_latencies_that_were_not_measured(
    root: Path, params: Params, change: dict[str, str | None]
) -> None:
    before = tradeoffs.render(read(root, params)).count('class="front"')
    speeds = read_json(root / "reports/speed.json")
    write_json(root / "reports/speed.json", {**speeds, "plain": speeds["plain"] | change})
    html = tradeoffs.render(read(root, params))
    assert html.count('class="front"') == before - 1  # the ranking has two jobs, so one point is no chart
    assert "Latency not measured: plain." in html
    assert 'class="absent">not measured<' in _page(root, params)


def test_no_front_is_drawn_over_two_machines(root: Path, params: Params) -> None:
    before = tradeoffs.render(read(root, params))
    speeds = read_json(root / "reports/speed.json")
    write_json(root / "reports/speed.json", {**speeds, "dcgan": speeds["dcgan"] | {"threads": 64}})
    after = tradeoffs.render(read(root, params))
    assert after.count('class="front"') == before.count('class="front"') - 1
    assert after.count("<svg") == before.count("<svg")


def test_a_latency_of_an_earlier_version_says_nothing_of_its_machine_and_is_left_out(
    root: Path, params: Params
) -> None:
    speeds = read_json(root / "reports/speed.json")
    for entry in speeds.values():
        del entry["processor"]
    write_json(root / "reports/speed.json", speeds)
    assert read(root, params).latency("plain") is None
    assert "0.0800" not in Page(_page(root, params)).text


def test_mistakes_are_counted_and_a_flawless_job_is_named(root: Path, params: Params) -> None:
    for name, severity in (("plain", [0.0, 0.5, 0.0, 1.0, 0.0, 0.0]), ("lenet5", [0.0] * 6)):
        path = root / "evaluations" / name / "test.parquet"
        table = pq.read_table(path)
        pq.write_table(table.append_column("severity", pa.array(severity)), path)
    (root / "evaluations/lenet5/failures.png").unlink()
    text = Page(_page(root, params)).text
    assert "2 of 6 test images" in text
    assert "No mistake on test images: lenet5." in text
