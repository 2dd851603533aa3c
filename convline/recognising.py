"""Which format reads a folder: the one that recognises it; where none is certain, what speaks against each."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from convline import names
from pipeline import plugins, sample
from pipeline.errors import UserError
from pipeline.images import SUFFIXES
from pipeline.prepare import exports
from pipeline.prepare.formats.parts.archives import is_archive
from pipeline.prepare.formats.parts.doubt import Doubt
from pipeline.prepare.formats.parts.files import Tree, listed, pictures_left_out, scan

KIND = "prepare.formats"
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")

Options = dict[str, Any]


def recognise(source: Path, tree: Tree, wanted: str | None) -> tuple[str, Options]:
    """The format that recognises the folder, and its options; UserError unless exactly one does."""
    candidates = _candidates(tree)
    if wanted is not None:
        if wanted not in names.folder_formats():
            raise UserError(f"--format: {plugins.unknown('format', wanted, names.folder_formats())}")
        answer = candidates.get(wanted, {})
        return wanted, (answer.options or {}) if isinstance(answer, Doubt) else answer
    certain = _certain(candidates)
    if len(certain) == 1:
        return next(iter(certain.items()))
    if certain:
        raise UserError(
            f"{source}: could be {' or '.join(certain)}. Choose by --format, as in `--format {min(certain)}`."
        )
    raise UserError(_unrecognised(source, tree, candidates))


def reads_archives(tree: Tree, wanted: str | None) -> bool:
    """Whether the wanted format, or one that recognises the folder, reads archives itself."""
    formats = _candidates(tree) if wanted is None else {wanted} & {*names.folder_formats()}
    return any(plugins.constant(KIND, name, "ARCHIVES") for name in formats)


def no_folder(source: Path) -> str:
    """Why what a person gave is not the folder of a dataset, and the remedy."""
    if not source.exists():
        return "no such folder. Give the folder that holds the files."
    if source.suffix.lower() not in ARCHIVES:
        return "not a folder. Give the folder that holds the files."
    folder = source.with_name(re.sub(r"(\.tar)?\.\w+$", "", source.name))
    verb = "Move" if is_archive(PurePosixPath(source.name)) else "Unpack"
    return f"an archive. {verb} it into a folder of its own, such as {folder}, and add that."


def first_line(format: str) -> str:
    """A format's name, and what it reads."""
    return str(plugins.load(KIND, format).__doc__).partition("\n")[0]


def _candidates(tree: Tree) -> dict[str, Options | Doubt]:
    answers = {name: plugins.load(KIND, name).recognise(tree) for name in names.folder_formats()}
    return {name: answer for name, answer in answers.items() if answer is not None}


def _certain(candidates: dict[str, Options | Doubt]) -> dict[str, Options]:
    return {name: answer for name, answer in candidates.items() if not isinstance(answer, Doubt)}


def _unrecognised(source: Path, tree: Tree, candidates: dict[str, Options | Doubt]) -> str:
    """Why no format is certain: the tool that wrote the folder, a folder in it, a doubt, or what each format misses."""
    if export := exports.explain(tree):
        return f"{source}: {export}"
    inner = [
        f"Its folder {folder} looks like {' or '.join(formats)}: convline add {source / folder}"
        for folder in tree.folders
        if len(folder.parts) == 1 and (formats := _certain(_candidates(scan(tree.root / folder))))
    ]
    doubts = [_doubt(source, name, answer) for name, answer in candidates.items() if isinstance(answer, Doubt)]
    if doubts or inner:
        return "\n".join([*(doubts or [f"{source}: holds other folders of images."]), *inner])
    has_images = any(name.suffix.lower() in SUFFIXES for name in tree.files)
    if not has_images and (pictures := pictures_left_out(tree, tree.files)):
        return "\n".join(f"{source}: {len(names):,} images, {listed(names)}. {remedy}" for remedy, names in pictures)
    lines = [f"{source}: no format recognises this folder of {len(tree.files):,} files."]
    lines += [f"  {first_line(name)}\n    here: {_missing(tree.root, name)}" for name in names.folder_formats()]
    return "\n".join([*lines, "Arrange the files as one of them reads, or choose one by --format."])


def _doubt(source: Path, format: str, doubt: Doubt) -> str:
    """What speaks against a format, and how to read the folder so all the same, if that is possible."""
    option = f"--format {format}"
    is_told = doubt.options is None or option in doubt.reason
    return f"{source}: {doubt.reason}" + ("" if is_told else f"\n  if it is {format} all the same: {option}")


def _missing(source: Path, format: str) -> str:
    """The first fault that a format finds in a folder."""
    try:
        items = plugins.load(KIND, format).read(source)
        return str(next(item for item in items if isinstance(item, sample.Fault) and not item.warning))
    except (UserError, StopIteration) as error:
        return str(error) or "no fault"
