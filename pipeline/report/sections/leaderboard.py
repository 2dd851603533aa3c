"""The ranking of jobs by the primary metric on test images, for each dataset and task."""

from html import escape

from pipeline.report._charts import interval_bar
from pipeline.report._glossary import meaning
from pipeline.report._html import (
    ABSENT,
    cell,
    count_decimals,
    format_compact,
    format_fixed,
    format_significant,
    intro,
    pill,
    row_header,
    table,
)
from pipeline.report.results import Ranking, Results, Score
from pipeline.scores import finite_or_none

TITLE = "Leaderboard"
ORDER = 10
#: beside a job whose interval overlaps that of the best
NEAR_BEST = "≈ best"


def render(results: Results) -> str:
    """One table for each ranking, then the jobs without a score; empty if the roster has studies only."""
    if not results.jobs:
        return ""
    tables = [_ranking(ranking, results) for ranking in results.rankings()]
    unmeasured = [job for job in results.succeeded if job not in results.metrics]
    if unmeasured:
        tables.append(f"<p>Not measured yet: {escape(', '.join(unmeasured))}.</p>")
    if results.failed:
        names = escape(", ".join(results.failed))
        tables.append(f'<p class="warning">Failed, without a score: {names}. See <a href="#failures">why</a>.</p>')
    opening = intro(
        "Each job is one network trained on one dataset. All scores are from test images that were not used in "
        "training. The bar is the 95 % interval: how much the score would vary with other test images of the same "
        f"kind. The dashed line marks the best score. {pill(NEAR_BEST)} means that the interval overlaps that of the "
        "best job, so these test images do not show which of the two is better."
    )
    return opening + "".join(tables)


def _ranking(ranking: Ranking, results: Results) -> str:
    others = [name for name in results.metric_names(ranking.jobs) if name != ranking.primary]
    primaries = [score for job in ranking.jobs if (score := results.score(job, ranking.primary))]
    trivial = results.baseline(ranking.jobs)
    shown = [*primaries, *([] if trivial is None else [trivial[1]])]
    extent = [value for item in shown for value in (item.value, item.low, item.high) if value is not None]
    digits = {
        name: count_decimals([score.value for job in ranking.jobs if (score := results.score(job, name))])
        for name in (ranking.primary, *others)
    }
    headers = ["#", "job", "architecture", f"{escape(ranking.primary)} <small>{ranking.direction}</small>"]
    headers += [escape(name) for name in others]
    headers += ["parameters", "multiply-adds", "latency <small>ms</small>", "training <small>s</small>"]
    rows = []
    for rank, job in enumerate(ranking.jobs, start=1):
        score = results.score(job, ranking.primary)
        row = [
            cell(str(rank) if score else ABSENT, rank),
            row_header(_name(job, score, primaries[0] if rank > 1 and primaries else None, results)),
            cell(escape(results.jobs[job].architecture), css_class=""),
            _primary_cell(score, primaries, extent, digits[ranking.primary])
            if score
            else _undefined_cell(results.why_undefined(job, ranking.primary)),
        ]
        row += [
            _metric_cell(results.score(job, name), digits[name], results.why_undefined(job, name)) for name in others
        ]
        rows.append(row + _cost_cells(job, results))
    if trivial is not None:
        rows.append(_baseline_row(*trivial, primaries, extent, digits[ranking.primary], len(headers)))
    machines = sorted({results.machine(job) for job in ranking.jobs} - {""})
    return "".join(
        [
            f"<h3>{escape(ranking.dataset)} <small>{escape(ranking.task)}</small></h3>",
            table(headers, rows, sortable=True),
            f'<p class="note">Latency measured on {escape("; ".join(machines))}.</p>' if machines else "",
            _max_detections(ranking, results),
            _meanings([ranking.primary, *others, "parameters", "multiply-adds", "latency", "training"]),
        ]
    )


def _baseline_row(
    title: str, score: Score, primaries: list[Score], extent: list[float], digits: int, columns: int
) -> list[str]:
    """What needs no learning, without a rank: below it, a job has learnt nothing."""
    name = f'{escape(title)} <small class="absent">no learning</small>'
    head = [cell(ABSENT), row_header(name), cell(ABSENT)]
    head.append(_primary_cell(score, primaries or [score], extent, digits))
    return head + [cell("") for _ in range(columns - len(head))]


def _max_detections(ranking: Ranking, results: Results) -> str:
    """A note if the limit of detections per image and class is not COCO's 100."""
    limits = {results.metrics[job].get("detections") for job in ranking.jobs} - {None}
    if not limits:
        return ""
    limit = ", ".join(sorted(map(str, limits)))
    return f'<p class="note">At most {limit} detections per image and class count here; COCO’s limit is 100.</p>'


def _name(job: str, score: Score | None, best: Score | None, results: Results) -> str:
    roles = "".join(f" {pill(('♛ ' if role == 'champion' else '') + role, 'good')}" for role in results.roles(job))
    note = f" {pill(NEAR_BEST)}" if _intervals_overlap(score, best) else ""
    return f"{escape(job)}{roles}{note}"


def _intervals_overlap(score: Score | None, best: Score | None) -> bool:
    """Whether both intervals exist and overlap, so that other test images might reverse the order."""
    if score is None or best is None:
        return False
    if score.low is None or score.high is None or best.low is None or best.high is None:
        return False
    return score.low <= best.high and best.low <= score.high


def _undefined_cell(reason: str) -> str:
    text = f"undefined: {reason}" if reason else "undefined"
    return cell(f'<span class="absent">{escape(text)}</span>', css_class="primary")


def _primary_cell(score: Score, primaries: list[Score], extent: list[float], digits: int) -> str:
    bar = interval_bar(score.value, score.low, score.high, (min(extent), max(extent)), primaries[0].value)
    html = f"{bar}<b>{format_fixed(score.value, digits)}</b>{_range(score, digits)}"
    return cell(html, score.value, css_class="primary")


def _range(score: Score, digits: int) -> str:
    if score.low is None or score.high is None:
        return ""
    return f'<span class="range">{format_fixed(score.low, digits)}–{format_fixed(score.high, digits)}</span>'


def _metric_cell(score: Score | None, digits: int, reason: str) -> str:
    if score is None:
        return cell(f'<span class="absent" title="{escape(reason)}">undefined</span>' if reason else ABSENT)
    return cell(f"{format_fixed(score.value, digits)}{_range(score, digits)}", score.value)


def _cost_cells(job: str, results: Results) -> list[str]:
    counts, latency = results.job_counts(job), results.latency(job)
    sizes = [finite_or_none(counts.get(key)) for key in ("parameters", "multiply_adds")]
    trained_s = finite_or_none(results.speed.get(job, {}).get("train_s"))
    cells = [cell(format_compact(value), value) for value in sizes]
    return [*cells, _latency_cell(latency), cell(format_significant(trained_s), trained_s)]


def _latency_cell(latency: Score | None) -> str:
    """The median with its quartiles."""
    if latency is None:
        return cell('<span class="absent">not measured</span>')
    low, high = (format_significant(value) for value in (latency.low, latency.high))
    return cell(f'{format_significant(latency.value)}<span class="range">{low}–{high}</span>', latency.value)


def _meanings(metrics: list[str]) -> str:
    sentences = [(name, sentence) for name in metrics if (sentence := meaning(name))]
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(sentence)}</dd>" for name, sentence in sentences)
    return f"<details><summary>What the columns mean</summary><dl>{items}</dl></details>"
