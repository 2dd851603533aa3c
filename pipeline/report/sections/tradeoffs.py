"""What a better score costs: score against size and against time, for each ranking of two jobs or more."""

from html import escape

from pipeline.report._charts import Point, scatter
from pipeline.report._html import gallery, intro
from pipeline.report.results import Contest, Results, finite

TITLE = "Score and cost"
ORDER = 30


def render(results: Results) -> str:
    """Two charts for each contest; empty where nothing can be compared."""
    parts = [_contest(contest, results) for contest in results.contests()]
    if not any(parts):
        return ""
    opening = intro(
        "Further left is cheaper; each step along the bottom multiplies the cost. The line joins the jobs that no "
        "cheaper job beats: choose from these. Bars are 95 % intervals, test images."
    )
    return opening + "".join(parts)


def _contest(contest: Contest, results: Results) -> str:
    size = {job: finite(results.counted(job).get("parameters")) for job in contest.jobs}
    latency = {job: finite(results.speed.get(job, {}).get("latency_ms")) for job in contest.jobs}
    charts = [
        _chart(contest, results, size, "parameters (log scale)"),
        _chart(contest, results, latency, "latency for one image, ms (log scale)"),
    ]
    if not any(charts):
        return ""
    none = [job for job, value in size.items() if value == 0]
    note = (
        f'<p class="note">Without parameters, so not on the first chart: {escape(", ".join(none))}.</p>' if none else ""
    )
    return f"<h3>{escape(contest.dataset)} <small>{escape(contest.task)}</small></h3>{gallery(charts)}{note}"


def _chart(contest: Contest, results: Results, cost: dict[str, float | None], x_label: str) -> str:
    points = []
    for job in contest.jobs:
        score, x = results.score(job, contest.primary), cost[job]
        if score and x and x > 0:
            points.append(Point(job, x, score.value, score.low, score.high))
    if len(points) < 2:
        return ""
    y_label = f"{contest.primary} ({contest.better})"
    return f"<figure>{scatter(points, x_label, y_label, higher_is_better=contest.higher_is_better)}</figure>"
