"""params.yaml and the files of params/ beside it, merged into one mapping of sections.

params.yaml is the user's page. A file of params/ adds entries to sections, and its name is a set: `lineage` has the
jobs of params/lineage.yaml. An entry of params.yaml replaces the one of its name in params/. A job with `like: other`
has the settings of `other` where it has none of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import plugins, safe_yaml, studies
from pipeline.errors import UserError

FILE, FOLDER = Path("params.yaml"), "params"
#: sections without which no job of params/ can run, and those to which files of params/ add entries
NEEDED = ("datasets", "jobs")
SECTIONS = ("datasets", "augmentation", "sets", "jobs", "studies")


@dataclass(frozen=True)
class Files:
    """The merged sections, the sets that the files are, and which file each entry is in."""

    path: Path
    value: dict[str, Any]
    written: dict[str, Any]
    sets: dict[str, list[str]]
    origins: dict[tuple[str, str], Path]
    faults: list[str]

    def locate(self, where: str) -> str:
        """`params/lineage.yaml: jobs.vgg.lr`: the file and the path in it of a setting that may be inherited."""
        where = studies.place_in_file(where, self.value)
        section, _, rest = where.partition(".")
        names = [name for part, name in self.origins if part == section and f"{rest}.".startswith(f"{name}.")]
        if not names:
            return f"{self.path}: {where}"
        name = max(names, key=len)
        setting, jobs = rest[len(name) + 1 :], self.written.get("jobs") or {}
        passed: set[str] = set()  # `like` may go round in a circle
        while section == "jobs" and setting and name not in passed:
            entry = jobs[name]
            if not isinstance(entry, dict) or setting.split(".")[0] in entry or entry.get("like") not in jobs:
                break
            passed.add(name)
            name = entry["like"]
        return f"{self.origins[section, name]}: {'.'.join(part for part in (section, name, setting) if part)}"

    def emptied(self) -> str | None:
        """What to do where params.yaml was cleared, so that jobs of params/ lack what it had; None if it was not."""
        own = [name for (section, name), file in self.origins.items() if file == self.path and section in NEEDED]
        others = sorted(
            {file for (section, _), file in self.origins.items() if file != self.path and section == "jobs"}
        )
        if own or not others:
            return None
        return (
            f"has no datasets and jobs, which those of {others[0]} need. Empty the files beside it as well: "
            f'`for file in {others[0].parent}/*.yaml; do echo "{{}}" > "$file"; done`; '
            f"or take back what it had: `git checkout {self.path.name}`."
        )


def read(path: Path, folder: Path) -> Files:
    """Read params.yaml and the files of params/; UserError for a file that can't be read as sections."""
    return merge(path, load(path), read_folder(folder))


def read_folder(folder: Path) -> dict[Path, dict[str, Any]]:
    """The sections of each file of params/."""
    return {file: load(file) for file in sorted(folder.glob("*.yaml"))}


def merge(path: Path, content: dict[str, Any], others: dict[Path, dict[str, Any]]) -> Files:
    """Merge the content of params.yaml and of the files of params/, and resolve each `like`.

    An entry of params.yaml replaces the one of its name in params/; two files of params/ can't have one name.
    """
    value = {key: {} if part is None and key != "roster" else part for key, part in content.items()}
    sets: dict[str, list[str]] = {}
    origins = {(section, name): path for section in SECTIONS for name in _names(value.get(section))}
    faults: list[str] = []
    for file, sections in others.items():
        sets[file.stem] = [name for section in ("jobs", "studies") for name in _names(sections.get(section))]
        for section, entries in sections.items():
            if section not in SECTIONS:
                faults.append(f"{file}: {section}: only {', '.join(SECTIONS)} can be here. Move it to {path}.")
                continue
            for name in _names(entries):
                if (other := origins.setdefault((section, name), file)) not in (file, path):
                    faults.append(f"{file}: {section}.{name}: {other} has it as well. Remove one of them.")
            if isinstance(entries, dict) and isinstance(mine := value.setdefault(section, {}), dict):
                value[section] = {**mine, **{name: entry for name, entry in entries.items() if name not in mine}}
            elif entries is not None:
                faults.append(f"{file}: {section}: not a mapping. Write `name: settings` below it.")
    written = value
    value = {**value, "jobs": dict(value["jobs"])} if isinstance(value.get("jobs"), dict) else value
    files = Files(path, value, written, sets, origins, faults)
    if isinstance(value.get("jobs"), dict):
        for where, text in _inherit(value["jobs"]):
            faults.append(f"{files.locate(where)}: {text}")
    return files


def load(path: Path) -> dict[str, Any]:
    """The sections of one file; UserError says what is wrong with it."""
    text = read_text(path)
    if conflicted(text):
        hint = "Resolve them; after a pull of a new version `convline upgrade` does it, with your side"
        raise UserError(f"{path}: has conflict markers of Git. {hint}.")
    try:
        value = safe_yaml.load(text)
    except ValueError as error:
        raise UserError(f"{path}: {error}.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds no sections. Give at least datasets and jobs.")
    return value


def read_text(path: Path) -> str:
    """The text of a file; UserError if it can't be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. Run from the project's root.") from error
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error}). Give a text file.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not valid YAML: no UTF-8 text. Save it as UTF-8.") from error


def conflicted(text: str) -> bool:
    """Whether Git left both sides of a conflict in the text."""
    return any(line.startswith("<<<<<<< ") for line in text.splitlines())


def _names(section: Any) -> list[str]:
    return [str(name) for name in section] if isinstance(section, dict) else []


def _inherit(jobs: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Replace each `like` by the settings of the job that it names; yields the faults, as path and text."""
    written = dict(jobs)
    for name, entry in written.items():
        chain = [name]
        while isinstance(entry, dict) and "like" in entry:
            other = entry["like"]
            if not isinstance(other, str) or other not in written:
                yield f"jobs.{chain[-1]}.like", plugins.unknown("job", str(other), map(str, written))
                break
            if other in chain:
                yield f"jobs.{name}.like", f"{' is like '.join([*chain, other])}. Break the circle."
                break
            chain.append(other)
            entry = written[other]
        settings: dict[str, Any] = {}
        for link in reversed(chain):
            own = written[link]
            if isinstance(own, dict):
                own = {key: value for key, value in own.items() if key != "like"}
                settings = studies.merged(settings, own) if settings else own
        if isinstance(written[name], dict) and "like" in written[name]:
            jobs[name] = settings
