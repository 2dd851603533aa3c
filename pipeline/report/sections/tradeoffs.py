"""Score against parameters and against latency, for each ranking of two jobs or more."""

from html import escape

from pipeline.report._charts import Point, scatter
from pipeline.report._html import gallery, intro
from pipeline.report.results import Ranking, Results, finite_or_none

TITLE = "Score and cost"
ORDER = 30


def render(results: Results) -> str:
    """Two charts for each ranking; empty if nothing can be compared."""
    parts = [_charts(ranking, results) for ranking in results.rankings()]
    if not any(parts):
        return ""
    opening = intro(
        "Further left is cheaper; the horizontal axis is logarithmic. The dashed line is the Pareto front: no job of "
        "equal or lower cost beats the jobs on it, so choose one of these. Bars are 95 % intervals on test images."
    )
    return opening + "".join(parts)


def _charts(ranking: Ranking, results: Results) -> str:
    size = {job: finite_or_none(results.job_counts(job).get("parameters")) for job in ranking.jobs}
    latency = {job: finite_or_none(results.speed.get(job, {}).get("latency_ms")) for job in ranking.jobs}
    charts = [
        _chart(ranking, results, size, "parameters (log scale)"),
        _chart(ranking, results, latency, "latency for one image, ms (log scale)"),
    ]
    if not any(charts):
        return ""
    empty = [job for job, value in size.items() if value == 0]
    names = escape(", ".join(empty))
    note = f'<p class="note">Not on the first chart (no parameters): {names}.</p>' if empty else ""
    return f"<h3>{escape(ranking.dataset)} <small>{escape(ranking.task)}</small></h3>{gallery(charts)}{note}"


def _chart(ranking: Ranking, results: Results, cost: dict[str, float | None], x_label: str) -> str:
    points = []
    for job in ranking.jobs:
        score, x = results.score(job, ranking.primary), cost[job]
        if score and x and x > 0:
            points.append(Point(job, x, score.value, score.low, score.high))
    if len(points) < 2:
        return ""
    y_label = f"{ranking.primary} ({ranking.direction})"
    return f"<figure>{scatter(points, x_label, y_label, higher_is_better=ranking.higher_is_better)}</figure>"
