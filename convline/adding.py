"""What `convline add` does: recognises a folder, reads it as `prepare` does, and adds it to DVC and params.yaml.

All checks come before any change, params.yaml is written last, and a failure leaves the project unchanged. The
prepared images are kept, so that the first `make repro` does not read them again.
"""

import contextlib
import difflib
import logging
import math
import os
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from convline import edit, names, raw, suggest
from pipeline import params, params_files, plugins, preflight, safe_yaml, sample, shards, store
from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.params import Dataset
from pipeline.prepare import exports
from pipeline.prepare import stage as prepare
from pipeline.prepare.findings import LISTED
from pipeline.prepare.formats.parts.doubt import Doubt
from pipeline.prepare.formats.parts.files import Tree, scan
from pipeline.prepare.make import make
from pipeline.terminal import escape, name_fault

log = logging.getLogger(__name__)

KIND = "prepare.formats"
RAW = "data/raw"
#: class names that are printed
SHOWN_CLASSES = 20


@dataclass(frozen=True)
class Wishes:
    """What a person decides instead of `add`: see convline/commands/add.py."""

    name: str | None = None
    format: str | None = None
    options: Sequence[str] = ()
    on_bad: Literal["error", "skip"] = "error"
    dry_run: bool = False


def add(source: Path, root: Path, wishes: Wishes = Wishes()) -> dict[str, Any]:
    """Add a folder to the project; returns what was added, or would be, with the change of params.yaml as `diff`."""
    preflight.check(root, preflight.BEFORE_ADD)
    before = params.read(root / params.FILE, empty=True)
    name, path = name_and_path(source, wishes.name, root, before)
    entry = _entry(source, path, wishes)
    (root / ".work").mkdir(exist_ok=True)
    lock = store.locked(root / ".work/add.lock", "convline add")
    with lock, tempfile.TemporaryDirectory(dir=root / ".work", prefix="add-") as made:
        facts = read_folder(source, entry, Path(made))
        _describe(facts, Path(made))
        if facts.skipped and wishes.on_bad == "error":
            raise UserError(_refusal(facts, source))
        if facts.skipped:
            entry["on_bad"] = "skip"
        tasks = suggest.tasks(facts)
        jobs = suggest.jobs(name, tasks, suggest.TrainStatistics.of(facts, shards.split(Path(made), "train")))
        log.info(f"  tasks: {', '.join(tasks)}; first jobs: {', '.join(jobs) or 'none'}\n")
        if taken := sorted(jobs.keys() & before.jobs.keys()):
            raise UserError(f"{params.FILE}: jobs.{taken[0]} exists already. Give another name by --name.")
        old = (root / params.FILE).read_bytes().decode()
        new = with_entries(old, name, entry, jobs, root)
        if not wishes.dry_run:
            log.info(_diff(old, new))
            complete = raw.add_to_dvc(source, root / path, root)
            store.write_bytes(root / params.FILE, new.encode())
            if complete:
                _keep_for_prepare(Path(made), Dataset.model_validate(entry), root)
            _say_what_is_next(name, path, jobs)
    counts = {"images": sum(facts.counts.values()), "faults": len(facts.skipped)}
    return {"name": name, "dataset": entry, "tasks": tasks, "jobs": jobs, **counts, "diff": _diff(old, new)}


def _say_what_is_next(name: str, path: str, jobs: suggest.Jobs) -> None:
    log.info(f"{path} is in DVC, and {params.FILE} names it")
    log.info(f"to share it: git add {params.FILE} {path}.dvc {PurePosixPath(path).parent}/.gitignore")
    if jobs:
        log.info(f"next: convline run {name}")
    else:
        log.info(f"next: write a job for it into {params.FILE}, then convline run {name}")


def name_and_path(source: Path, wanted: str | None, root: Path, before: params.Params) -> tuple[str, str]:
    """The dataset's name, and its path from the project's root; UserError if either is taken or not possible."""
    if fault := name_fault(str(source)):
        raise UserError(f"{escape(source)}: {fault}. Rename it, or the folder above it with such a name.")
    if not source.is_dir():
        what = "not a folder; unpack an archive first" if source.exists() else "no such folder"
        raise UserError(f"{source}: {what}. Give the folder that holds the files.")
    raw_folder, folder = (root / RAW).resolve(), source.resolve()
    if raw_folder.is_relative_to(folder):
        raise UserError(f"{source}: holds the project's own {RAW}. Give the folder of one dataset.")
    name = wanted or re.sub(r"[^\w-]+", "-", source.name, flags=re.ASCII).strip("-")
    if not re.fullmatch(r"[\w-]+", name, re.ASCII):
        raise UserError(f"--name: {name!r}: a dataset's name has only letters, digits, '-' and '_'. Give another.")
    inside = folder.is_relative_to(raw_folder)
    path = PurePosixPath(RAW, folder.relative_to(raw_folder).as_posix() if inside else name)
    for other, dataset in before.datasets.items():
        if dataset.path is not None and PurePosixPath(dataset.path) == path:
            raise UserError(f"{params.FILE}: {path} is there already, as datasets.{other}. Nothing was changed.")
    if name in before.datasets:
        raise UserError(f"{params.FILE}: datasets.{name} is there already. Give another name by --name.")
    if not inside and (root / path).exists():
        raise UserError(f"{root / path}: is there already. Give another name by --name, or add that folder itself.")
    log.info(f"{source}" + ("" if inside else f" (to be copied to {path})"))
    return name, str(path)


def _entry(source: Path, path: str, wishes: Wishes) -> dict[str, Any]:
    """The dataset's entry in params.yaml: the format and its options, as recognised and as given."""
    format, options = recognise(source, scan(source), wishes.format)
    options |= dict(map(_option, wishes.options))
    allowed = plugins.options(KIND, format, "read") or []
    for option in options:
        if option not in allowed:
            raise UserError(f"--option: {plugins.unknown(f'option of {format}', option, allowed)}")
    log.info(f"  {_first_line(format)}")
    for option, value in options.items():
        log.info(f"  option {option}: {value}")
    return {"format": format, "path": path} | ({"options": options} if options else {})


def recognise(source: Path, tree: Tree, wanted: str | None) -> tuple[str, dict[str, Any]]:
    """The format that recognises the folder, and its options; UserError unless exactly one does."""
    candidates = _recognised(tree)
    if wanted is not None:
        if wanted not in names.folder_formats():
            raise UserError(f"--format: {plugins.unknown('format', wanted, names.folder_formats())}")
        answer = candidates.get(wanted, {})
        return wanted, (answer.options or {}) if isinstance(answer, Doubt) else answer
    certain = {name: answer for name, answer in candidates.items() if not isinstance(answer, Doubt)}
    if len(certain) == 1:
        return next(iter(certain.items()))
    if certain:
        raise UserError(
            f"{source}: could be {' or '.join(certain)}. Choose by --format, as in `--format {min(certain)}`."
        )
    raise UserError(_unrecognised(source, tree, candidates))


def _unrecognised(source: Path, tree: Tree, candidates: dict[str, dict[str, Any] | Doubt]) -> str:
    """What speaks against the formats that could read the folder, or what each format misses."""
    if export := exports.explain(tree):
        return f"{source}: {export}"
    doubts = {name: answer for name, answer in candidates.items() if isinstance(answer, Doubt)}
    if doubts:
        lines = []
        for name, doubt in doubts.items():
            way_on = "" if doubt.options is None else f"\n  if it is {name} all the same: --format {name}"
            lines.append(f"{source}: {doubt.reason}{way_on}")
        return "\n".join(lines)
    lines = [f"{source}: no format recognises this folder of {len(tree.files):,} files."]
    for folder in (folder for folder in tree.folders if len(folder.parts) == 1):
        if inner := _recognised(scan(source / folder)):
            lines.append(f"Its folder {folder} looks like {' or '.join(inner)}: convline add {source / folder}")
    lines += [f"  {_first_line(name)}\n    here: {_missing(source, name)}" for name in names.folder_formats()]
    return "\n".join([*lines, "Arrange the files as one of them reads, or choose one by --format."])


def _missing(source: Path, format: str) -> str:
    """The first fault that a format finds in a folder."""
    try:
        items = plugins.load(KIND, format).read(source)
        return str(next(item for item in items if isinstance(item, sample.Fault) and not item.warning))
    except (UserError, StopIteration) as error:
        return str(error) or "no fault"


def read_folder(source: Path, entry: dict[str, Any], made: Path) -> sample.Facts:
    """Read the folder as `prepare` does, into `made`, without faulty images; it may lie anywhere."""
    with tempfile.TemporaryDirectory(dir=made.parent) as stage, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings are no faults: the image was read
        link = Path(stage, entry["path"])
        link.parent.mkdir(parents=True)
        link.symlink_to(source.resolve())
        make(made, Dataset.model_validate({**entry, "on_bad": "skip"}), Path(stage))
    return sample.facts(made)


def with_entries(old: str, name: str, entry: dict[str, Any], jobs: suggest.Jobs, root: Path) -> str:
    """The text of params.yaml with the dataset and its jobs; UserError if it does not read back as such."""
    new = edit.insert(old, "datasets", name, entry, short=True)
    for job, settings in jobs.items():
        new = edit.insert(new, "jobs", job, settings)
    if jobs:
        new = edit.append_to_roster(new, name)
    trial = root / ".work/add.params.yaml"
    store.write_bytes(trial, new.encode())
    try:
        expected, values = (safe_yaml.load(text) for text in (old, new))
        expected["datasets"] = {**(expected["datasets"] or {}), name: entry}
        expected["jobs"] = {**(expected["jobs"] or {}), **jobs}
        if "roster" in expected:
            expected["roster"] = values["roster"]
        if values != expected:
            raise UserError(f"{params.FILE}: an entry can't be added to its form. Add it by hand:\n{_diff(old, new)}")
        params.read(trial, empty=not jobs, folder=root / params_files.FOLDER)
    except ValueError as error:
        raise UserError(f"{params.FILE}: an entry can't be added to its form. Write its sections as blocks.") from error
    finally:
        trial.unlink()
    return new


def _recognised(tree: Tree) -> dict[str, dict[str, Any] | Doubt]:
    recognised = {name: plugins.load(KIND, name).recognise(tree) for name in names.folder_formats()}
    return {name: options for name, options in recognised.items() if options is not None}


def _first_line(format: str) -> str:
    return str(plugins.load(KIND, format).__doc__).partition("\n")[0]


def _option(text: str) -> tuple[str, Any]:
    """The name and value of `NAME: VALUE` in YAML."""
    try:
        value = safe_yaml.load(text)
    except ValueError:
        value = None
    if not isinstance(value, dict) or len(value) != 1:
        raise UserError(f"--option: {text!r} is not of the form 'NAME: VALUE', as in 'classes: [background, road]'.")
    ((name, content),) = value.items()
    return str(name), content


def _describe(facts: sample.Facts, made: Path) -> None:
    counts = ", ".join(f"{split} {facts.counts[split]:,}" for split in sample.SPLITS)
    parts = [shards.split(made, split) for split in sample.SPLITS]
    sizes = sorted({tuple(size) for part in parts for size in part.column("size")}, key=math.prod)
    ends = " to ".join(f"{width}×{height}" for height, width in dict.fromkeys((sizes[0], sizes[-1])))
    log.info(f"  {sum(facts.counts.values()):,} images ({counts}), {ends} pixels")
    classes = facts.classes or facts.semantic_classes
    more = ", …" if len(classes) > SHOWN_CLASSES else ""
    log.info(f"  {len(classes)} class{'es' if len(classes) > 1 else ''}: {', '.join(classes[:SHOWN_CLASSES])}{more}")
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
            log.warning(
                "\n".join(f"    {note}" for note in notes[:LISTED]) + ("\n    …" if len(notes) > LISTED else "")
            )


def _refusal(facts: sample.Facts, source: Path) -> str:
    left = sum(facts.counts.values())
    many = f"{len(facts.skipped):,} fault{'s' if len(facts.skipped) > 1 else ''}"
    return (
        f"{source}: {many}, listed above; nothing was changed. Fix them; or leave the faulty "
        f"out and keep {left:,} images by `on_bad: skip`:\n  convline add {source} --on-bad skip"
    )


def _diff(old: str, new: str) -> str:
    before, after = (text.splitlines(keepends=True) for text in (old, new))
    return "".join(difflib.unified_diff(before, after, f"a/{params.FILE}", f"b/{params.FILE}"))


def _keep_for_prepare(made: Path, dataset: Dataset, root: Path) -> None:
    """Keep the prepared images where prepare looks for earlier results."""
    fingerprint = prepare.compute_fingerprint(dataset, root)
    with contextlib.suppress(OSError), store.folder(root / ".work/prepare" / fingerprint, fingerprint) as path:
        for file in made.iterdir():
            os.replace(file, path / file.name)
