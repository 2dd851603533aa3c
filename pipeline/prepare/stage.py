"""prepare: raw images in any format → `data/prepared/<dataset>/` with Arrow shards and dataset.json.

A dataset is prepared again only if its settings, its raw files or the code that reads them changed; earlier ones are
restored from `.work/prepare/`. If a dataset is faulty, nothing is changed.
"""

import functools
import logging
import shutil
from importlib.metadata import version
from pathlib import Path

from pipeline import fingerprint, images, roots, store
from pipeline.errors import UserError
from pipeline.params import Dataset, Params
from pipeline.prepare.formats.parts.files import checked, contents
from pipeline.prepare.make import make
from pipeline.sample import SPLITS, Facts, facts

log = logging.getLogger(__name__)

LIBRARIES = ("numpy", "pillow", "pyarrow", "ruamel.yaml", "scikit-learn")
KEEP_BYTES = 20_000_000_000
#: what was measured of datasets that are not prepared yet
UNFINISHED = Path(".work/unfinished")
SHOWN = 5


def run(params: Params, root: Path) -> None:
    """Update the datasets of the selected jobs, and those of no job; one UserError lists the faults of all.

    Those of other jobs stay as they are.
    """
    work, prepared = root / ".work" / "prepare", root / "data" / "prepared"
    wanted, failures = set(), []
    others = {job.dataset for job in params.jobs.values()} - {job.dataset for job in params.selected().values()}
    with store.locked(root / ".work" / "prepare.lock", "prepare"):
        for name, dataset in params.datasets.items():
            if name in others:
                continue
            try:
                wanted.add(_update(name, dataset, root, work, prepared))
            except UserError as error:
                failures.append(f"dataset {name}: {error}")
        if failures:
            raise UserError("\n\n".join(failures))
        store.keep_only(prepared, set(params.datasets))
        store.bound(work, KEEP_BYTES, wanted)


def _update(name: str, dataset: Dataset, root: Path, work: Path, prepared: Path) -> str:
    fingerprint = compute_fingerprint(dataset, root)
    target, unfinished = prepared / name, root / UNFINISHED / name
    make_whole = functools.partial(make, dataset=dataset, root=root, name=name, before=target, unfinished=unfinished)
    outcome = store.update(target, fingerprint, work, make_whole)
    shutil.rmtree(unfinished, ignore_errors=True)
    log.info(summary(name, outcome, facts(prepared / name)))
    return fingerprint


def compute_fingerprint(dataset: Dataset, root: Path) -> str:
    """The fingerprint of a prepared dataset: settings, raw files, code, libraries; not its name."""
    raw = contents(checked(root / dataset.path)) if dataset.path else None
    return fingerprint.compute_fingerprint(
        roots.preparation(dataset.format),
        settings=dataset.model_dump(exclude={"derived"}),
        raw=raw and store.digest(raw),
        readers={library: version(library) for library in (*LIBRARIES, *_extras(raw or {}))},
    )


def _extras(raw: dict[str, str]) -> tuple[str, ...]:
    """The library of an extra that is installed and reads some of the raw files."""
    reads = images.READS_HEIC and any(name.lower().endswith(images.HEIC_SUFFIXES) for name in raw)
    return ("pillow-heif",) if reads else ()


def summary(name: str, outcome: str, dataset_facts: Facts) -> str:
    """`digits: made, 1,797 images (train 1,074, val 360, test 363), 10 classes`, then warnings and skipped."""
    counts = ", ".join(f"{split} {dataset_facts.counts[split]:,}" for split in SPLITS)
    classes = len(dataset_facts.classes) or len(dataset_facts.semantic_classes)
    lines = [f"{name}: {outcome}, {sum(dataset_facts.counts.values()):,} images ({counts}), {classes:,} classes"]
    for what, notes in (("warnings", dataset_facts.warnings), ("skipped", dataset_facts.skipped)):
        if notes:
            lines.append(f"  {what}: {len(notes):,}")
            lines += [f"    {note}" for note in notes[:SHOWN]] + (["    …"] if len(notes) > SHOWN else [])
    return "\n".join(lines)
