"""What went wrong: jobs that failed, with the reason, and the worst mistakes of those that did not."""

from html import escape

from pipeline.report._html import gallery, intro, picture
from pipeline.report.results import Results

TITLE = "Failures"
ORDER = 60


def render(results: Results) -> str:
    """Failed jobs and pictures of mistakes; empty where there are neither."""
    reasons = "".join(
        f'<div class="failed"><b>{escape(job)}</b><pre>{escape(reason or "No reason was recorded.")}</pre></div>'
        for job, reason in results.failed.items()
    )
    mistakes = gallery(_figure(job, results) for job in results.sound)
    parts = []
    if reasons:
        parts.append(intro("These jobs did not end well, so they take no part in the rankings.") + reasons)
    if mistakes:
        parts.append("<h3>Worst mistakes</h3>")
        parts.append(intro("The test images that each network got most wrong. Look for what they share.") + mistakes)
    return "".join(parts)


def _figure(job: str, results: Results) -> str:
    path = results.root / "evaluations" / job / "failures.png"
    return picture(path, f"Worst mistakes of {job} on test images", f"<b>{escape(job)}</b>")
