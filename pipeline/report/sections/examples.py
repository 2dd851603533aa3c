"""What the networks answer: a picture of test examples with predictions, job by job."""

from html import escape

from pipeline.report._html import gallery, intro, picture
from pipeline.report.results import Results

TITLE = "Examples"
ORDER = 50


def render(results: Results) -> str:
    """Each job's examples.png; empty where evaluate drew none."""
    parts = []
    for (dataset, task), jobs in results.groups().items():
        figures = [_figure(job, results) for job in jobs]
        if any(figures):
            parts.append(f"<h3>{escape(dataset)} <small>{escape(task)}</small></h3>{gallery(figures)}")
    if not parts:
        return ""
    return intro("Test images with each network’s answer, drawn without regard to whether it is right.") + "".join(
        parts
    )


def _figure(job: str, results: Results) -> str:
    path = results.root / "evaluations" / job / "examples.png"
    return picture(path, f"Test examples with the predictions of {job}", f"<b>{escape(job)}</b>")
