"""Test images with each job's predictions."""

from html import escape

from pipeline.report._html import gallery, intro, picture
from pipeline.report.results import Results

TITLE = "Examples"
ORDER = 50


def render(results: Results) -> str:
    """Each job's examples.png; empty if there is none."""
    parts = []
    for (dataset, task), jobs in results.groups().items():
        figures = [_figure(job, results) for job in jobs]
        if any(figures):
            parts.append(f"<h3>{escape(dataset)} <small>{escape(task)}</small></h3>{gallery(figures)}")
    if not parts:
        return ""
    opening = intro("Test images with each network’s predictions, whether correct or not.")
    return opening + "".join(parts)


def _figure(job: str, results: Results) -> str:
    path = results.root / "evaluations" / job / "examples.png"
    return picture(path, f"Test examples with the predictions of {job}", f"<b>{escape(job)}</b>")
