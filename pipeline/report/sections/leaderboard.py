"""Who is best at what: one ranking for each dataset and task, by the primary metric on test images."""

from html import escape

from pipeline.report._charts import interval
from pipeline.report._glossary import meaning
from pipeline.report._html import ABSENT, cell, compact, decimals, intro, number, pill, row_head, significant, table
from pipeline.report.results import Contest, Results, Score, finite

TITLE = "Leaderboard"
ORDER = 10
UNSETTLED = "≈ best"


def render(results: Results) -> str:
    """One table for each contest, then the jobs that have no score; empty where the roster is studies alone."""
    if not results.jobs:
        return ""
    tables = [_contest(contest, results) for contest in results.contests()]
    waiting = [job for job in results.sound if job not in results.metrics]
    if waiting:
        tables.append(f"<p>Not measured yet: {escape(', '.join(waiting))}.</p>")
    if results.failed:
        names = escape(", ".join(results.failed))
        tables.append(f'<p class="warning">Failed, so without a score: {names}. See <a href="#failures">why</a>.</p>')
    opening = intro(
        "Each job is one network trained on one dataset. All scores are from test images that took no part in "
        "training. The bar is the 95 % interval: how far the score might move had other test images of the same kind "
        "been drawn. The dashed line marks the best score. "
        f"{pill(UNSETTLED)} means: the interval overlaps that of the best, so these images do not settle which of the "
        "two is better."
    )
    return opening + "".join(tables)


def _contest(contest: Contest, results: Results) -> str:
    others = [name for name in results.metric_names(contest.jobs) if name != contest.primary]
    primaries = [score for job in contest.jobs if (score := results.score(job, contest.primary))]
    extent = [value for item in primaries for value in (item.value, item.low, item.high) if value is not None]
    digits = {
        name: decimals([score.value for job in contest.jobs if (score := results.score(job, name))])
        for name in (contest.primary, *others)
    }
    heads = ["#", "job", "architecture", f"{escape(contest.primary)} <small>{contest.better}</small>"]
    heads += [escape(name) for name in others]
    heads += ["parameters", "multiply-adds", "latency <small>ms</small>", "training <small>s</small>"]
    rows = []
    for place, job in enumerate(contest.jobs, start=1):
        score = results.score(job, contest.primary)
        row = [
            cell(str(place) if score else ABSENT, place),
            row_head(_name(job, score, primaries[0] if place > 1 and primaries else None, results)),
            cell(escape(results.jobs[job].architecture), kind=""),
            _primary(score, primaries, extent, digits[contest.primary]),
        ]
        rows.append(row + [_metric(results.score(job, name), digits[name]) for name in others] + _costs(job, results))
    devices = sorted({str(results.speed.get(job, {}).get("device", "")) for job in contest.jobs} - {""})
    return "".join(
        [
            f"<h3>{escape(contest.dataset)} <small>{escape(contest.task)}</small></h3>",
            table(heads, rows, sortable=True),
            f'<p class="note">Times measured on: {escape("; ".join(devices))}.</p>' if devices else "",
            _most(contest, results),
            _meanings([contest.primary, *others, "parameters", "multiply-adds", "latency", "training"]),
        ]
    )


def _most(contest: Contest, results: Results) -> str:
    """Says so where other than COCO's hundred detections of an image and class count."""
    counted = {results.metrics[job].get("detections") for job in contest.jobs} - {None}
    if not counted:
        return ""
    most = ", ".join(sorted(map(str, counted)))
    return f'<p class="note">At most {most} detections of an image and class count here; COCO counts 100.</p>'


def _name(job: str, score: Score | None, best: Score | None, results: Results) -> str:
    marks = "".join(f" {pill(('♛ ' if role == 'champion' else '') + role, 'good')}" for role in results.roles(job))
    note = f" {pill(UNSETTLED)}" if _unsettled(score, best) else ""
    return f"{escape(job)}{marks}{note}"


def _unsettled(score: Score | None, best: Score | None) -> bool:
    """Whether both intervals overlap, so that other test images might turn the order round."""
    if score is None or best is None:
        return False
    if score.low is None or score.high is None or best.low is None or best.high is None:
        return False
    return score.low <= best.high and best.low <= score.high


def _primary(score: Score | None, primaries: list[Score], extent: list[float], digits: int) -> str:
    if score is None:
        return cell(ABSENT, kind="primary")
    bar = interval(score.value, score.low, score.high, (min(extent), max(extent)), primaries[0].value)
    return cell(f"{bar}<b>{number(score.value, digits)}</b>{_range(score, digits)}", score.value, kind="primary")


def _range(score: Score, digits: int) -> str:
    if score.low is None or score.high is None:
        return ""
    return f'<span class="range">{number(score.low, digits)}–{number(score.high, digits)}</span>'


def _metric(score: Score | None, digits: int) -> str:
    if score is None:
        return cell(ABSENT)
    return cell(f"{number(score.value, digits)}{_range(score, digits)}", score.value)


def _costs(job: str, results: Results) -> list[str]:
    counted, speed = results.counted(job), results.speed.get(job, {})
    sizes = [finite(counted.get(key)) for key in ("parameters", "multiply_adds")]
    times = [finite(speed.get(key)) for key in ("latency_ms", "train_s")]
    cells = [cell(compact(value), value) for value in sizes]
    return cells + [cell(significant(value), value) for value in times]


def _meanings(measures: list[str]) -> str:
    known = [(name, text) for name in measures if (text := meaning(name))]
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in known)
    return f"<details><summary>What the columns mean</summary><dl>{items}</dl></details>"
