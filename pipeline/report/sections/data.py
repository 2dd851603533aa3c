"""What the networks learned from: each dataset's splits, classes and warnings, and what augmentation makes of it."""

from html import escape

from pipeline.report._html import gallery, intro, picture
from pipeline.report.results import Results
from pipeline.sample import SPLITS, Facts

TITLE = "Data"
ORDER = 90
FEW = 24  # classes that are listed without being asked for


def render(results: Results) -> str:
    """A part for each dataset of the selected jobs, then the contact sheets; empty where there are neither."""
    parts = [_dataset(name, facts) for name, facts in results.datasets.items()]
    names = dict.fromkeys(f"{job.dataset}-{job.policy}" for job in results.jobs.values())
    sheets = gallery(_sheet(name, results) for name in names)
    if sheets:
        parts.append(
            f"<h3>Augmentation</h3>{intro('Training images as the networks see them, changed at random.')}{sheets}"
        )
    return "".join(parts)


def _dataset(name: str, facts: Facts) -> str:
    total = sum(facts.counts.values())
    splits = [(split, facts.counts[split]) for split in SPLITS if split in facts.counts]
    counts = ", ".join(f"<b>{count:,}</b> {split}" for split, count in splits)
    shares = "".join(
        f'<i class="split-{number}" style="flex-grow:{count}" title="{split}: {count:,}"></i>'
        for number, (split, count) in enumerate(splits)
    )
    semantic = ""
    if facts.semantic_classes:
        semantic = f"<p>Classes of the label map: {escape(', '.join(facts.semantic_classes))}.</p>"
    points = f"<p>Points of a thing: {escape(', '.join(facts.points))}.</p>" if facts.points else ""
    return (
        f"<h3>{escape(name)} <small>format {escape(facts.format)}</small></h3>"
        f'<p>{total:,} images: {counts}.</p><div class="shares">{shares}</div>'
        f"{_classes(facts)}{semantic}{points}"
        f"{_notices('Warnings', facts.warnings)}{_notices('Left out', facts.skipped)}"
    )


def _classes(facts: Facts) -> str:
    if not facts.classes or not facts.class_counts:
        return ""
    largest = max(*facts.class_counts, 1)
    items = "".join(
        f'<li><span>{escape(name)}</span><i style="width:{count / largest * 100:.1f}%"></i><b>{count:,}</b></li>'
        for name, count in zip(facts.classes, facts.class_counts, strict=False)
    )
    state = " open" if len(facts.classes) <= FEW else ""
    summary = f"{len(facts.classes)} classes, with their number in train"
    return f'<details{state}><summary>{summary}</summary><ul class="bars">{items}</ul></details>'


def _notices(title: str, texts: tuple[str, ...]) -> str:
    if not texts:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<details class="warning"><summary>{title}: {len(texts)}</summary><ul>{items}</ul></details>'


def _sheet(name: str, results: Results) -> str:
    path = results.root / "data" / "augmented" / name / "contact_sheet.png"
    return picture(path, f"Augmented training images of {name}", f"<b>{escape(name)}</b>")
