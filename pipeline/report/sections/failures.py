"""Jobs that failed, with the reason, and the worst predictions of the others."""

from html import escape

from pipeline.report._html import gallery, intro, picture
from pipeline.report.results import Results

TITLE = "Failures"
ORDER = 60


def render(results: Results) -> str:
    """Failed jobs and pictures of mistakes; empty if there are neither."""
    reasons = "".join(
        f'<div class="failed"><b>{escape(job)}</b><pre>{escape(reason or "No reason was recorded.")}</pre></div>'
        for job, reason in results.failed.items()
    )
    mistakes = gallery(_figure(job, results) for job in results.succeeded)
    flawless = [job for job in results.succeeded if (results.mistakes(job) or (1, 1))[0] == 0]
    parts = []
    if reasons:
        parts.append(intro("These jobs failed, so they are not ranked.") + reasons)
    if mistakes or flawless:
        opening = intro("The test images with each network’s worst mistakes. Look for a common cause.")
        note = f'<p class="note">No mistake on test images: {escape(", ".join(flawless))}.</p>' if flawless else ""
        parts.append(f"<h3>Worst mistakes</h3>{opening}{mistakes}{note}")
    return "".join(parts)


def _figure(job: str, results: Results) -> str:
    path = results.root / "evaluations" / job / "failures.png"
    counted = results.mistakes(job)
    count = f" {counted[0]:,} of {counted[1]:,} test images" if counted else ""
    return picture(path, f"Worst mistakes of {job} on test images", f"<b>{escape(job)}</b>{count}")
