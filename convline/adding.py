"""What `convline add` does: recognises a folder, reads it as `prepare` does, and adds it to DVC and params.yaml.

All checks come before any change, params.yaml is written last, and a failure leaves the project unchanged. The
prepared images are kept, so that the first `make repro` does not read them again.
"""

import contextlib
import difflib
import logging
import os
import re
import shlex
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from convline import describing, edit, raw, recognising, suggest, timing
from pipeline import images, params, params_files, plugins, preflight, safe_yaml, sample, shards, store
from pipeline.augment import annotated
from pipeline.errors import UserError
from pipeline.params import Dataset
from pipeline.prepare import stage as prepare
from pipeline.prepare.formats.parts.files import scan
from pipeline.prepare.make import make
from pipeline.prepare.unpacking import unpacked
from pipeline.recipes.parts import published
from pipeline.recipes.parts.wishes import Preset
from pipeline.terminal import escape, name_fault
from pipeline.train import estimate

log = logging.getLogger(__name__)

RAW = "data/raw"
#: letters of a dataset's name, which folders and files get with those of jobs and policies; and of a file's name
MAX_NAME, MAX_FILE_NAME = 64, 255


@dataclass(frozen=True)
class Wishes:
    """What a person decides instead of `add`: see convline/commands/add.py."""

    name: str | None = None
    format: str | None = None
    options: Sequence[str] = ()
    on_bad: Literal["error", "skip"] = "error"
    dry_run: bool = False
    preset: Preset = "fast"
    minutes: float | None = None
    measure: bool = False

    def with_skip(self, source: Path) -> str:
        """The command that leaves faulty images out, with all that was given."""
        words = ["convline", "add", str(source)]
        preset = None if self.preset == "fast" else self.preset
        given = [("--name", self.name), ("--format", self.format), ("--preset", preset)]
        given.append(("--minutes", None if self.minutes is None else f"{self.minutes:g}"))
        given += [("--option", option) for option in self.options]
        words += [word for flag, value in given if value is not None for word in (flag, value)]
        return shlex.join([*words, "--on-bad", "skip", *(["--dry-run"] if self.dry_run else [])])


def add(source: Path, root: Path, wishes: Wishes = Wishes()) -> dict[str, Any]:
    """Add a folder to the project; returns what was added, or would be, with the change of params.yaml as `diff`."""
    preflight.check(root, preflight.BEFORE_ADD)
    before = params.read(root / params.FILE, empty=True)
    name, path = name_and_path(source, wishes.name, root, before)
    entry = _entry(source, path, wishes, root)
    (root / ".work").mkdir(exist_ok=True)
    lock = store.locked(root / ".work/add.lock", "convline add")
    with lock, tempfile.TemporaryDirectory(dir=root / ".work", prefix="add-") as made:
        unfinished = root / prepare.UNFINISHED / f"add-{name}"
        facts = read_folder(source, entry, Path(made), name, unfinished)
        describing.describe(facts, Path(made))
        if facts.skipped and wishes.on_bad == "error":
            raise UserError(describing.refusal(facts, source, wishes.with_skip(source)))
        if facts.skipped:
            entry["on_bad"] = "skip"
        tasks = suggest.tasks(facts)
        if not tasks and (reason := suggest.nothing_to_learn(facts)):
            raise UserError(f"{source}: {reason} Nothing was changed.")
        suggestion = _suggestion(name, tasks, facts, Path(made), root, wishes)
        expected: dict[str, float] = {}
        if wishes.measure or wishes.minutes is not None:
            expected = timing.measure(suggestion, Path(made))
            if wishes.minutes is not None:
                suggestion, expected = timing.shorten(suggestion, expected, wishes.minutes)
            suggestion = timing.with_reasons(suggestion, expected)
        jobs = suggestion.jobs
        log.info(f"  tasks: {', '.join(tasks)}; first jobs: {', '.join(jobs) or 'none'}\n")
        if taken := sorted(jobs.keys() & before.jobs.keys()):
            raise UserError(f"{params.FILE}: jobs.{taken[0]} exists already. Give another name by --name.")
        old = (root / params.FILE).read_bytes().decode()
        if taken := sorted(suggestion.policies.keys() & before.augmentation.keys()):
            raise UserError(f"{params.FILE}: augmentation.{taken[0]} exists already. Give another name by --name.")
        new = with_entries(old, name, entry, suggestion, root, first=not before.jobs)
        if not wishes.dry_run:
            log.info(_diff(old, new))
            complete = raw.add_to_dvc(source, root / path, root)
            store.write_bytes(root / params.FILE, new.encode())
            picture = _draw(Path(made), facts, root, name)
            shutil.rmtree(unfinished, ignore_errors=True)
            if complete:
                _keep_for_prepare(Path(made), Dataset.model_validate(entry), root)
            estimate.keep(root, expected)
            log.info(f"images with their annotations, to look at before training: {picture}")
            _say_what_is_next(name, path, jobs, timing.whole(suggestion, expected))
    counts = {"images": sum(facts.counts.values()), "faults": len(facts.skipped)}
    return {"name": name, "dataset": entry, "tasks": tasks, "jobs": jobs, **counts, "diff": _diff(old, new)}


def _suggestion(
    name: str, tasks: list[str], facts: sample.Facts, made: Path, root: Path, wishes: Wishes
) -> suggest.Suggestion:
    """First jobs, and a line on the published weights that they start from, or could."""
    takes_weights = {"classification"} | (set() if wishes.preset == "fast" else {"detection", "segmentation"})
    best = published.choose(root) if takes_weights & set(tasks) else None
    if best is not None:
        log.info(f"  published weights: {best.origin}")
    elif takes_weights & set(tasks):
        log.info(f"  published weights: none at hand or within reach. {published.how_to_bring()}")
    statistics = suggest.TrainStatistics.of(facts, shards.split(made, "train"))
    return suggest.suggestion(name, tasks, statistics, suggest.Wishes(wishes.preset, best))


def _draw(made: Path, facts: sample.Facts, root: Path, name: str) -> str:
    """Draw a dozen images with their annotations; returns the picture's path from the project's root."""
    path = f"reports/data/{name}.png"
    sheet = annotated.dozen(shards.split(made, "train"), facts)
    store.write_bytes(root / path, images.encode_png(sheet))
    return path


def _say_what_is_next(name: str, path: str, jobs: suggest.Jobs, seconds: float) -> None:
    log.info(f"{path} is in DVC, and {params.FILE} names it")
    log.info(f"to share it: git add {params.FILE} {path}.dvc {PurePosixPath(path).parent}/.gitignore")
    if jobs:
        about = f", which takes about {estimate.words(seconds)} and a minute to start" if seconds else ""
        log.info(f"next: convline run {name}{about}")
    else:
        log.info(f"next: write a job for it into {params.FILE}, then convline run {name}")


def name_and_path(source: Path, wanted: str | None, root: Path, before: params.Params) -> tuple[str, str]:
    """The dataset's name, and its path from the project's root; UserError if either is taken or not possible."""
    if fault := name_fault(str(source)):
        raise UserError(f"{escape(source)}: {fault}. Rename it, or the folder above it with such a name.")
    if not source.is_dir():
        raise UserError(f"{source}: {recognising.no_folder(source)}")
    raw_folder, folder = (root / RAW).resolve(), source.resolve()
    if raw_folder.is_relative_to(folder):
        raise UserError(f"{source}: holds the project's own {RAW}. Give the folder of one dataset.")
    name = wanted or re.sub(r"[^\w-]+", "-", source.name, flags=re.ASCII).strip("-")
    if not re.fullmatch(r"[\w-]+", name, re.ASCII):
        raise UserError(f"--name: {name!r}: a dataset's name has only letters, digits, '-' and '_'. Give another.")
    if len(name) > MAX_NAME:
        raise UserError(f"{name}: a dataset's name has at most {MAX_NAME} letters. Give a shorter one by --name.")
    inside = folder.is_relative_to(raw_folder)
    path = PurePosixPath(RAW, folder.relative_to(raw_folder).as_posix() if inside else name)
    if len(os.fsencode(f"{path.name}.dvc")) > MAX_FILE_NAME:
        raise UserError(
            f"{source}: its name is too long for the file {path.name[:20]}….dvc beside it. Rename the folder."
        )
    for other, dataset in before.datasets.items():
        if dataset.path is not None and PurePosixPath(dataset.path) == path:
            raise UserError(f"{params.FILE}: {path} is there already, as datasets.{other}. Nothing was changed.")
    if name in before.datasets:
        raise UserError(f"{params.FILE}: datasets.{name} is there already. Give another name by --name.")
    if not inside and (root / path).exists():
        raise UserError(f"{root / path}: is there already. Give another name by --name, or add that folder itself.")
    log.info(f"{source}" + ("" if inside else f" (to be copied to {path})"))
    return name, str(path)


def _entry(source: Path, path: str, wishes: Wishes, root: Path) -> dict[str, Any]:
    """The dataset's entry in params.yaml: the format and its options, as recognised and as given."""
    given = dict(map(_option, wishes.options))
    for option in Dataset.model_fields.keys() & given.keys():
        entry = edit.flow({option: given[option]})[1:-1]
        what = f"{option!r} is a setting of the dataset, not an option of its format"
        raise UserError(f"--option: {what}. Write it into {params.FILE}: `datasets: {{NAME: {{format: …, {entry}}}}}`.")
    tree = scan(source)
    as_it_is = recognising.reads_archives(tree, wishes.format)
    with contextlib.nullcontext(source) if as_it_is else unpacked(source, root / ".work") as at:
        format, options = recognising.recognise(source, tree if at == source else scan(at), wishes.format)
    options |= given
    allowed = plugins.options(recognising.KIND, format, "read") or []
    for option in options:
        if option not in allowed:
            raise UserError(f"--option: {plugins.unknown(f'option of {format}', option, allowed)}")
    log.info(f"  {recognising.first_line(format)}")
    for option, value in options.items():
        log.info(f"  option {option}: {value}")
    return {"format": format, "path": path} | ({"options": options} if options else {})


def read_folder(
    source: Path, entry: dict[str, Any], made: Path, name: str = "images", unfinished: Path | None = None
) -> sample.Facts:
    """Read the folder as `prepare` does, into `made`, without faulty images; it may lie anywhere."""
    with tempfile.TemporaryDirectory(dir=made.parent) as stage, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings are no faults: the image was read
        link = Path(stage, entry["path"])
        link.parent.mkdir(parents=True)
        link.symlink_to(source.resolve())
        try:
            settings = Dataset.model_validate({**entry, "on_bad": "skip"})
            make(made, settings, Path(stage), name=name, unfinished=unfinished)
        except UserError as error:
            raise UserError(str(error) if str(source) in str(error) else f"{source}: {error}") from error
    return sample.facts(made)


def with_entries(
    old: str, name: str, entry: dict[str, Any], suggestion: suggest.Suggestion, root: Path, *, first: bool = False
) -> str:
    """The text of params.yaml with the dataset, its jobs and policies; UserError if it does not read back as such.

    first: these are the first jobs of the project, so that the roster names nothing else.
    """
    jobs, policies = suggestion.jobs, suggestion.policies
    new = edit.insert(old, "datasets", name, entry, short=True)
    for job, settings in jobs.items():
        new = edit.insert(new, "jobs", job, settings, comment=suggestion.reasons.get(job))
    for policy, transforms in policies.items():
        new = edit.insert(edit.with_section(new, "augmentation"), "augmentation", policy, transforms)
    if jobs:
        new = edit.append_to_roster(new, name, alone=first)
    trial = root / ".work/add.params.yaml"
    store.write_bytes(trial, new.encode())
    try:
        expected, values = (safe_yaml.load(text) for text in (old, new))
        expected["datasets"] = {**(expected["datasets"] or {}), name: entry}
        expected["jobs"] = {**(expected["jobs"] or {}), **jobs}
        if policies:
            expected["augmentation"] = {**(expected.get("augmentation") or {}), **policies}
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


def _diff(old: str, new: str) -> str:
    before, after = (text.splitlines(keepends=True) for text in (old, new))
    return "".join(difflib.unified_diff(before, after, f"a/{params.FILE}", f"b/{params.FILE}"))


def _keep_for_prepare(made: Path, dataset: Dataset, root: Path) -> None:
    """Keep the prepared images where prepare looks for earlier results."""
    fingerprint = prepare.compute_fingerprint(dataset, root)
    with contextlib.suppress(OSError), store.folder(root / ".work/prepare" / fingerprint, fingerprint) as path:
        for file in made.iterdir():
            os.replace(file, path / file.name)
