"""`convline add PATH`: what a folder of images is, as the formats and `prepare` see it; then params.yaml and DVC.

Everything is found out before anything is written, params.yaml is written last, and what fails leaves the project
as it was. What was read is kept for `prepare`, so that the first `make repro` does not read the images again.
"""

import argparse
import contextlib
import difflib
import math
import os
import re
import tempfile
import warnings
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from convline import edit, raw, suggest
from pipeline import params, plugins, safe_yaml, sample, store, surroundings
from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.params import Dataset
from pipeline.prepare import stage as prepare
from pipeline.prepare.findings import LISTED
from pipeline.prepare.formats.parts.files import Tree, scan
from pipeline.prepare.make import make
from pipeline.terminal import shown, tell, unfit

KIND = "prepare.formats"
RAW = "data/raw"
#: class names that are printed
SHOWN_CLASSES = 20


def run(arguments: argparse.Namespace, root: Path) -> int:
    """Add a folder to the project; returns the exit code."""
    (source,) = arguments.paths
    surroundings.check(root, surroundings.BEFORE_ADD)
    before = params.read(root / params.FILE, empty=True)
    name, path = placed(source, arguments.name, root, before)
    entry = _entry(source, path, arguments)
    (root / ".work").mkdir(exist_ok=True)
    lock = store.locked(root / ".work/add.lock", "convline add")
    with lock, tempfile.TemporaryDirectory(dir=root / ".work", prefix="add-") as made:
        facts = read(source, entry, Path(made))
        _describe(facts, Path(made))
        if facts.skipped and arguments.on_bad == "error":
            raise UserError(_refusal(facts, source))
        if facts.skipped:
            entry["on_bad"] = "skip"
        possible = suggest.tasks(facts)
        jobs = suggest.jobs(name, possible, suggest.Seen.of(facts, sample.split(Path(made), "train")))
        tell(f"  tasks: {', '.join(possible)}; first jobs: {', '.join(jobs) or 'none'}\n")
        if taken := sorted(jobs.keys() & before.jobs.keys()):
            raise UserError(f"{params.FILE}: jobs.{taken[0]} is there already. Give another name by --name.")
        old = (root / params.FILE).read_bytes().decode()
        new = written(old, name, entry, jobs, root)
        tell(_diff(old, new))
        if arguments.dry_run:
            tell("nothing was written or copied")
            return 0
        whole = raw.take(source, root / path, root)
        store.write_bytes(root / params.FILE, new.encode())
        if whole:
            _keep(Path(made), Dataset.model_validate(entry), root)
    tell(f"{path} is in DVC, and {params.FILE} names it")
    if isinstance(before.roster, list):
        tell(f"the roster is a list: add {', '.join(jobs)} to it, so that they run")
    tell(f"next: make repro; to share it, git add {params.FILE} {path}.dvc {PurePosixPath(path).parent}/.gitignore")
    return 0


def placed(source: Path, wanted: str | None, root: Path, before: params.Params) -> tuple[str, str]:
    """The dataset's name, and its path from the project's root; UserError where either is taken or can't be."""
    if why := unfit(str(source)):
        raise UserError(f"{shown(source)}: {why}. Rename it, or the folder above it that holds them.")
    if not source.is_dir():
        what = "not a folder; unpack an archive first" if source.exists() else "no such folder"
        raise UserError(f"{source}: {what}. Give the folder that holds the files.")
    owned, place = (root / RAW).resolve(), source.resolve()
    if owned.is_relative_to(place):
        raise UserError(f"{source}: holds the project's own {RAW}. Give the folder of one dataset.")
    name = wanted or re.sub(r"[^\w-]+", "-", source.name, flags=re.ASCII).strip("-")
    if not re.fullmatch(r"[\w-]+", name, re.ASCII):
        raise UserError(f"--name: {name!r}: names become folders and hold letters, digits, '-' and '_' only. Give one.")
    inside = place.is_relative_to(owned)
    path = PurePosixPath(RAW, place.relative_to(owned).as_posix() if inside else name)
    for known, dataset in before.datasets.items():
        if dataset.path is not None and PurePosixPath(dataset.path) == path:
            raise UserError(f"{params.FILE}: {path} is there already, as datasets.{known}. Nothing was changed.")
    if name in before.datasets:
        raise UserError(f"{params.FILE}: datasets.{name} is there already. Give another name by --name.")
    if not inside and (root / path).exists():
        raise UserError(f"{root / path}: is there already. Give another name by --name, or add that folder itself.")
    tell(f"{source}" + ("" if inside else f" (to be copied to {path})"))
    return name, str(path)


def _entry(source: Path, path: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The dataset's entry: the format and its options, as recognised and as told."""
    format, options = recognise(source, scan(source), arguments.format)
    options |= dict(map(_option, arguments.option))
    known = plugins.options(KIND, format, "read") or []
    for option in options:
        if option not in known:
            raise UserError(f"--option: {plugins.unknown(f'option of {format}', option, known)}")
    tell(f"  {_first_line(format)}")
    for option, value in options.items():
        tell(f"  option {option}: {value}")
    return {"format": format, "path": path} | ({"options": options} if options else {})


def recognise(source: Path, tree: Tree, wanted: str | None) -> tuple[str, dict[str, Any]]:
    """The format that knows the folder, and its options; UserError unless it is one and one alone."""
    found = _recognised(tree)
    if wanted is not None:
        if wanted not in _formats():
            raise UserError(f"--format: {plugins.unknown('format', wanted, _formats())}")
        return wanted, found.get(wanted, {})
    if len(found) == 1:
        return next(iter(found.items()))
    if found:
        raise UserError(
            f"{source}: could be {' or '.join(found)}. Say which by --format, as in `--format {min(found)}`."
        )
    lines = [f"{source}: none of the formats knows this folder of {len(tree.files):,} files."]
    for folder in (folder for folder in tree.folders if len(folder.parts) == 1):
        if inner := _recognised(scan(source / folder)):
            lines.append(f"Its folder {folder} looks like {' or '.join(inner)}: convline add {source / folder}")
    lines += [f"  {_first_line(name)}\n    here: {_missing(source, name)}" for name in _formats()]
    raise UserError("\n".join([*lines, "Put it as one of them reads it, or say by --format which one it shall be."]))


def _missing(source: Path, format: str) -> str:
    """The first thing that a format finds wrong with a folder."""
    try:
        items = plugins.load(KIND, format).read(source)
        return str(next(item for item in items if isinstance(item, sample.Fault) and not item.warning))
    except (UserError, StopIteration) as error:
        return str(error) or "nothing to find fault with"


def read(source: Path, entry: dict[str, Any], made: Path) -> sample.Facts:
    """Read the folder as `prepare` will, into `made`, without what is faulty; where it lies makes no difference."""
    with tempfile.TemporaryDirectory(dir=made.parent) as stage, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow says of an image is no fault: it was read
        place = Path(stage, entry["path"])
        place.parent.mkdir(parents=True)
        place.symlink_to(source.resolve())
        make(made, Dataset.model_validate({**entry, "on_bad": "skip"}), Path(stage))
    return sample.facts(made)


def written(old: str, name: str, entry: dict[str, Any], jobs: suggest.Jobs, root: Path) -> str:
    """The text of params.yaml with the dataset and its jobs; UserError if that is not what it says then."""
    new = edit.insert(old, "datasets", name, entry, short=True)
    for job, settings in jobs.items():
        new = edit.insert(new, "jobs", job, settings)
    trial = root / ".work/add.params.yaml"
    store.write_bytes(trial, new.encode())
    try:
        wanted, found = (safe_yaml.load(text) for text in (old, new))
        wanted["datasets"] = {**(wanted["datasets"] or {}), name: entry}
        wanted["jobs"] = {**(wanted["jobs"] or {}), **jobs}
        if found != wanted:
            raise UserError(f"{params.FILE}: its form leaves no place for an entry. Add it by hand:\n{_diff(old, new)}")
        params.read(trial, empty=not jobs)
    except ValueError as error:
        raise UserError(f"{params.FILE}: its form leaves no place for an entry. Write sections as blocks.") from error
    finally:
        trial.unlink()
    return new


def _formats() -> list[str]:
    """Formats that are made of files."""
    return [name for name in plugins.names(KIND) if plugins.options(KIND, name, "recognise") is not None]


def _recognised(tree: Tree) -> dict[str, dict[str, Any]]:
    found = {name: plugins.load(KIND, name).recognise(tree) for name in _formats()}
    return {name: options for name, options in found.items() if options is not None}


def _first_line(format: str) -> str:
    return str(plugins.load(KIND, format).__doc__).partition("\n")[0]


def _option(text: str) -> tuple[str, Any]:
    """`NAME: VALUE` as YAML has it."""
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
    shards = [sample.split(made, split) for split in sample.SPLITS]
    sizes = sorted({tuple(size) for shard in shards for size in shard.column("size")}, key=math.prod)
    ends = " to ".join(f"{width}×{height}" for height, width in dict.fromkeys((sizes[0], sizes[-1])))
    tell(f"  {sum(facts.counts.values()):,} images ({counts}), {ends} pixels")
    names = facts.classes or facts.semantic_classes
    more = ", …" if len(names) > SHOWN_CLASSES else ""
    tell(f"  {len(names)} class{'es' if len(names) > 1 else ''}: {', '.join(names[:SHOWN_CLASSES])}{more}")
    if facts.classes:
        few, many = min(facts.class_counts), max(facts.class_counts)
        tell(f"  train images a class: {few:,}" + ("" if few == many else f" to {many:,}"))
    found = Counter(Path(source).suffix for shard in shards for source in shard.column("source"))
    suffixes = Counter({suffix: count for suffix, count in found.items() if suffix.lower() in SUFFIXES})
    if len(suffixes) > 1:
        tell(f"  extensions mixed: {', '.join(f'{count:,} {suffix}' for suffix, count in suffixes.most_common())}")
    for what, notes in (("warnings", facts.warnings), ("faults", facts.skipped)):
        if notes:
            tell(f"  {what}: {len(notes):,}")
            tell("\n".join(f"    {note}" for note in notes[:LISTED]) + ("\n    …" if len(notes) > LISTED else ""))


def _refusal(facts: sample.Facts, source: Path) -> str:
    left = sum(facts.counts.values())
    many = f"{len(facts.skipped):,} fault{'s' if len(facts.skipped) > 1 else ''}"
    return (
        f"{source}: {many}, listed above; nothing was changed. Mend them; or leave the faulty "
        f"out and keep {left:,} images by `on_bad: skip`:\n  convline add {source} --on-bad skip"
    )


def _diff(old: str, new: str) -> str:
    before, after = (text.splitlines(keepends=True) for text in (old, new))
    return "".join(difflib.unified_diff(before, after, f"a/{params.FILE}", f"b/{params.FILE}"))


def _keep(made: Path, dataset: Dataset, root: Path) -> None:
    """Leave what was read where prepare looks for earlier work."""
    mark = prepare.fingerprint(dataset, root)
    with contextlib.suppress(OSError), store.folder(root / ".work/prepare" / mark, mark) as path:
        for file in made.iterdir():
            os.replace(file, path / file.name)
