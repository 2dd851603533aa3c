"""Score against parameters and against latency, for each ranking of two jobs or more."""

from html import escape

from pipeline.report._charts import Point, scatter
from pipeline.report._html import gallery, intro
from pipeline.report.results import Ranking, Results
from pipeline.scores import finite_or_none

TITLE = "Score and cost"
ORDER = 30


def render(results: Results) -> str:
    """Two charts for each ranking; empty if nothing can be compared."""
    parts = [_charts(ranking, results) for ranking in results.rankings()]
    if not any(parts):
        return ""
    opening = intro(
        "Further left is cheaper; the horizontal axis is logarithmic. The dashed line is the Pareto front: no job of "
        "equal or lower cost beats the jobs on it, so choose one of these. Bars are 95 % intervals on test images. "
        "Latency has no front unless every job was measured on the same quiet machine."
    )
    return opening + "".join(parts)


def _charts(ranking: Ranking, results: Results) -> str:
    size = {job: finite_or_none(results.job_counts(job).get("parameters")) for job in ranking.jobs}
    latencies = {job: results.latency(job) for job in ranking.jobs}
    latency = {job: None if score is None else score.value for job, score in latencies.items()}
    unmeasured = [job for job, value in latency.items() if value is None]
    comparable = not unmeasured and len({results.machine(job) for job in ranking.jobs}) == 1
    charts = [
        _chart(ranking, results, size, "parameters (log scale)"),
        _chart(ranking, results, latency, "latency for one image, ms (log scale)", front=comparable),
    ]
    if not any(charts):
        return ""
    notes = {
        "Not on the first chart (no parameters)": [job for job, value in size.items() if value == 0],
        "Latency not measured": unmeasured,
    }
    note = "".join(f'<p class="note">{what}: {escape(", ".join(jobs))}.</p>' for what, jobs in notes.items() if jobs)
    return f"<h3>{escape(ranking.dataset)} <small>{escape(ranking.task)}</small></h3>{gallery(charts)}{note}"


def _chart(
    ranking: Ranking, results: Results, cost: dict[str, float | None], x_label: str, *, front: bool = True
) -> str:
    points = []
    for job in ranking.jobs:
        score, x = results.score(job, ranking.primary), cost[job]
        if score and x and x > 0:
            points.append(Point(job, x, score.value, score.low, score.high))
    if len(points) < 2:
        return ""
    y_label = f"{ranking.primary} ({ranking.direction})"
    chart = scatter(points, x_label, y_label, higher_is_better=ranking.higher_is_better, front=front)
    return f"<figure>{chart}</figure>"
