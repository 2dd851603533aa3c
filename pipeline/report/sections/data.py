"""The datasets: splits, classes, warnings and some images of each, and its augmented training images."""

from html import escape

from pipeline.augment import annotated
from pipeline.report._html import gallery, intro, picture, png
from pipeline.report.results import Results
from pipeline.sample import SPLITS, Facts

TITLE = "Data"
ORDER = 90
MAX_OPEN = 24  # classes whose list is open at first


def render(results: Results) -> str:
    """Each dataset of the selected jobs, then the contact sheets; empty if there are neither."""
    parts = [_dataset(name, facts) + _images(name, facts, results) for name, facts in results.datasets.items()]
    names = dict.fromkeys(f"{job.dataset}-{job.policy}" for job in results.jobs.values())
    sheets = gallery(_sheet(name, results) for name in names)
    if sheets:
        opening = intro("Training images after random augmentation, as the networks see them.")
        parts.append(f"<h3>Augmentation</h3>{opening}{sheets}")
    return "".join(parts)


def _dataset(name: str, facts: Facts) -> str:
    total = sum(facts.counts.values())
    splits = [(split, facts.counts[split]) for split in SPLITS if split in facts.counts]
    counts = ", ".join(f"<b>{count:,}</b> {split}" for split, count in splits)
    bar = "".join(
        f'<i class="split-{number}" style="flex-grow:{count}" title="{split}: {count:,}"></i>'
        for number, (split, count) in enumerate(splits)
    )
    semantic = ""
    if facts.semantic_classes:
        semantic = f"<p>Semantic classes: {escape(', '.join(facts.semantic_classes))}.</p>"
    keypoints = f"<p>Keypoints of an object: {escape(', '.join(facts.keypoints))}.</p>" if facts.keypoints else ""
    return (
        f"<h3>{escape(name)} <small>format {escape(facts.format)}</small></h3>"
        f'<p>{total:,} images: {counts}.</p><div class="splits">{bar}</div>'
        f"{_classes(facts)}{semantic}{keypoints}"
        f"{_notices('Warnings', facts.warnings)}{_notices('Skipped', facts.skipped)}"
    )


def _images(name: str, facts: Facts, results: Results) -> str:
    """A dozen images with their annotations; empty where the prepared data are not here."""
    stored = results.stored_images(name, "train")
    if not len(stored):
        return ""
    sheet = annotated.dozen(stored, facts)
    return gallery([png(sheet, f"Training images of {name} with their annotations", "As annotated, before training.")])


def _classes(facts: Facts) -> str:
    if not facts.classes or not facts.class_counts:
        return ""
    largest = max(*facts.class_counts, 1)
    items = "".join(
        f'<li><span>{escape(name)}</span><i style="width:{count / largest * 100:.1f}%"></i><b>{count:,}</b></li>'
        for name, count in zip(facts.classes, facts.class_counts, strict=False)
    )
    state = " open" if len(facts.classes) <= MAX_OPEN else ""
    summary = f"{len(facts.classes)} classes, with their number of training images"
    return f'<details{state}><summary>{summary}</summary><ul class="bars">{items}</ul></details>'


def _notices(title: str, texts: tuple[str, ...]) -> str:
    if not texts:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<details class="warning"><summary>{title}: {len(texts)}</summary><ul>{items}</ul></details>'


def _sheet(name: str, results: Results) -> str:
    path = results.root / "data" / "augmented" / name / "contact_sheet.png"
    return picture(path, f"Augmented training images of {name}", f"<b>{escape(name)}</b>")
