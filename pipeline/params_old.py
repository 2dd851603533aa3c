"""Old names in params.yaml, by which a file of an earlier version is recognised; `convline upgrade` rewrites it.

A path is the keys and positions that lead to a setting.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline import plugins
from pipeline.errors import UserError

Path = tuple[str | int, ...]
#: options by their old names, with the new ones: the one that the plug-in has is meant
OPTIONS = {
    "points": ("keypoints",),
    "share": ("positive_fraction", "fraction"),
    "stage": ("level",),
    "stages": ("levels",),
    "way": ("mode",),
}
#: settings of the section `train` and shipped jobs, by their old names
TRAIN = {"lanes": "worker_groups"}
JOBS = {"mask_rcnn-points": "mask_rcnn-keypoints"}
#: words of an old roster that are no names; `core` are the jobs that say so
CORE, ALL, STUDIES = "core", "all", "studies"
SHOWN = 3


def signs(value: dict[str, Any]) -> list[str]:
    """Settings by which a file is seen to be old, as `jobs.linear.core`."""
    paths = [*(("jobs", name, CORE) for name in core_entries(value)), *(path for path, _ in renames(value))]
    return [".".join(map(str, path)) for path in paths]


def describe(signs: Sequence[str]) -> str:
    """The sentence about an old file that is run."""
    more = ", …" if len(signs) > SHOWN else ""
    what = f"it has the form of an earlier version ({', '.join(signs[:SHOWN])}{more})"
    return f"{what}. Run `convline upgrade`, which shows what it changes, and keeps the old file."


def core_entries(value: dict[str, Any]) -> dict[str, bool]:
    """Jobs that have the setting `core`, and whether they are of the core roster."""
    return {name: job[CORE] is True for name, job in _entries(value, "jobs").items() if CORE in job}


def renames(value: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """The path of each setting with an old name, and the new name."""
    train = value.get("train")
    yield from ((("train", old), new) for old, new in TRAIN.items() if isinstance(train, dict) and old in train)
    for name, dataset in _entries(value, "datasets").items():
        yield from _options(("datasets", name, "options"), dataset, "prepare.formats", dataset.get("format"), "read")
    for name, policy in _entries(value, "augmentation").items():
        yield from _policy(("augmentation", name), policy)
    for name, job in _entries(value, "jobs").items():
        yield from _options(("jobs", name, "options"), job, "models", job.get("architecture"), "build")
    for name, study in _entries(value, "studies").items():
        base = study["base"] if isinstance(study.get("base"), dict) else {}
        changes: dict[Path, dict[str, Any]] = {("base",): base}
        changes |= {("variants", key): change for key, change in _entries(study, "variants").items()}
        for inner, change in changes.items():
            architecture = change.get("architecture", base.get("architecture"))
            yield from _options(("studies", name, *inner, "options"), change, "models", architecture, "build")


def _entries(value: dict[str, Any], section: str) -> dict[str, dict[str, Any]]:
    """The entries of a section that are mappings, whatever else is in the file."""
    entries = value.get(section)
    if not isinstance(entries, dict):
        return {}
    return {str(name): entry for name, entry in entries.items() if isinstance(entry, dict)}


def _policy(path: Path, policy: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    staged = policy.get("staged")
    lists: dict[Path, Any] = {("online",): policy.get("online")}
    if isinstance(staged, dict):
        lists["staged", "transforms"] = staged.get("transforms")
    for inner, transforms in lists.items():
        for number, entry in enumerate(transforms if isinstance(transforms, list) else []):
            for transform in entry if isinstance(entry, dict) else {}:
                where = (*path, *inner, number, str(transform))
                yield from _options(where, {transform: entry[transform]}, "augment.transforms", transform, "build")


def _options(path: Path, owner: dict[str, Any], kind: str, name: Any, function: str) -> Iterator[tuple[Path, str]]:
    """Old names among the options at `path`, whose last part is their key in `owner`; the plug-in has only the new."""
    options = owner.get(str(path[-1]))
    if not isinstance(options, dict) or name not in plugins.names(kind):
        return
    with contextlib.suppress(UserError):  # a broken plug-in is reported elsewhere
        names = plugins.options(kind, name, function) or []
        for old in options:
            new = next((new for new in OPTIONS.get(old, ()) if new in names and old not in names), None)
            if new is not None:
                yield (*path, old), new
