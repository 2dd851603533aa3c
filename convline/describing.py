"""What `convline add` says of a folder that it read: images, classes, warnings and faults; and why it is refused."""

import logging
import math
from collections import Counter
from pathlib import Path

from pipeline import sample, shards
from pipeline.images import SUFFIXES
from pipeline.prepare.findings import LISTED, grouped

log = logging.getLogger(__name__)

#: class names that are printed
SHOWN_CLASSES = 20
#: images that are kept per fault from which leaving the faulty out is proposed: single ones are damaged
KEPT_PER_FAULT = 4


def describe(facts: sample.Facts, made: Path) -> None:
    """Log what a folder holds."""
    counts = ", ".join(f"{split} {facts.counts[split]:,}" for split in sample.SPLITS)
    parts = [shards.split(made, split) for split in sample.SPLITS]
    sizes = sorted({tuple(size) for part in parts for size in part.column("size")}, key=math.prod)
    ends = " to ".join(f"{width}×{height}" for height, width in dict.fromkeys((sizes[0], sizes[-1])))
    log.info(f"  {sum(facts.counts.values()):,} images ({counts}), {ends} pixels")
    if classes := facts.classes or facts.semantic_classes:
        more = ", …" if len(classes) > SHOWN_CLASSES else ""
        log.info(
            f"  {len(classes)} class{'es' if len(classes) > 1 else ''}: {', '.join(classes[:SHOWN_CLASSES])}{more}"
        )
    if facts.classes:
        few, many = min(facts.class_counts), max(facts.class_counts)
        log.info(f"  train images per class: {few:,}" + ("" if few == many else f" to {many:,}"))
    counts_by_suffix = Counter(Path(source).suffix for part in parts for source in part.column("source"))
    suffixes = Counter({suffix: count for suffix, count in counts_by_suffix.items() if suffix.lower() in SUFFIXES})
    if len(suffixes) > 1:
        log.info(f"  extensions mixed: {', '.join(f'{count:,} {suffix}' for suffix, count in suffixes.most_common())}")
    for what, notes in (("warnings", facts.warnings), ("faults", facts.skipped)):
        if notes:
            log.warning(f"  {what}: {len(notes):,}")
            log.warning("\n".join(f"    {line}" for line in grouped(notes, LISTED)))


def refusal(facts: sample.Facts, source: Path, command: str) -> str:
    """Why the folder was not added; `command` leaves the faulty images out, which is proposed if these are few."""
    left = sum(facts.counts.values())
    faults = f"{len(facts.skipped):,} fault{'s' if len(facts.skipped) > 1 else ''}"
    text = f"{source}: {faults}, listed above; nothing was changed. Fix them"
    if left < KEPT_PER_FAULT * len(facts.skipped) or 0 in facts.class_counts:
        return f"{text}: without the faulty images too little would be left."
    return f"{text}; or leave the faulty out and keep {left:,} images by `on_bad: skip`:\n  {command}"
