"""Further pictures of evaluate, such as confusion tables: every `figure-<name>.png` of every job."""

from html import escape
from pathlib import Path

from pipeline.report._html import gallery, intro, picture
from pipeline.report.results import Results

TITLE = "Figures"
ORDER = 70


def render(results: Results) -> str:
    """Figures grouped by their kind, so that jobs can be compared; empty where there are none."""
    kinds: dict[str, list[str]] = {}
    for job in results.sound:
        for path in sorted((results.root / "evaluations" / job).glob("figure-*.png")):
            kind = path.stem.removeprefix("figure-").replace("-", " ").replace("_", " ")
            kinds.setdefault(kind, []).append(_figure(job, kind, path))
    parts = [f"<h3>{escape(kind.capitalize())}</h3>{gallery(kinds[kind])}" for kind in sorted(kinds)]
    return (
        intro("Where each network goes wrong, and how sure it is, over all test images.") + "".join(parts)
        if parts
        else ""
    )


def _figure(job: str, kind: str, path: Path) -> str:
    return picture(path, f"{kind} of {job}", f"<b>{escape(job)}</b>")
