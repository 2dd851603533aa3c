"""Further figures, such as confusion matrices: every `figure-<name>.png` of every job."""

from html import escape
from pathlib import Path

from pipeline.report._html import gallery, intro, picture
from pipeline.report.results import Results

TITLE = "Figures"
ORDER = 70


def render(results: Results) -> str:
    """Figures grouped by name, so that jobs can be compared; empty if there are none."""
    groups: dict[str, list[str]] = {}
    for job in results.succeeded:
        for path in sorted((results.root / "evaluations" / job).glob("figure-*.png")):
            name = path.stem.removeprefix("figure-").replace("-", " ").replace("_", " ")
            groups.setdefault(name, []).append(_figure(job, name, path))
    if not groups:
        return ""
    opening = intro("Which errors each network makes, and how confident it is, over all test images.")
    return opening + "".join(f"<h3>{escape(name.capitalize())}</h3>{gallery(groups[name])}" for name in sorted(groups))


def _figure(job: str, name: str, path: Path) -> str:
    return picture(path, f"{name} of {job}", f"<b>{escape(job)}</b>")
