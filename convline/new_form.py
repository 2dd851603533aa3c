"""The text of an old params.yaml in the form of this version, with the user's entries, order and comments.

Each change is made to the values and to the text; that both agree in the end is checked.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from convline import edit, shipped
from convline.draft import Draft
from pipeline import params, params_files, params_old, safe_yaml, studies
from pipeline.errors import UserError
from pipeline.params_old import ALL, CORE, JOBS, STUDIES

Value = dict[str, Any]
Others = dict[Path, Value]
#: sections whose entries params/ may have as well
MODELS: dict[str, type[BaseModel]] = {
    "datasets": params.Dataset,
    "augmentation": params.Policy,
    "jobs": params.Job,
    "studies": params.Study,
}
#: settings of a job that name another
SOURCES = (("like",), ("extractor",), ("pretrained", "job"))


def convert(text: str, path: Path, folder: Path) -> tuple[str, list[str]]:
    """The text in the new form, and its changes as sentences; the same text if there is nothing to change.

    Args:
        text: the content of params.yaml.
        path: its path, for errors.
        folder: params/.
    """
    others = params_files.read_folder(folder)
    try:
        old = safe_yaml.load(text)
    except ValueError as error:
        raise UserError(f"{path}: {error}.") from error
    if not isinstance(old, dict) or not isinstance(old.get("jobs"), dict):
        raise UserError(f"{path}: holds no jobs. Give a file of an earlier version.")
    form = _Form(text, old)
    try:
        form.rename_options()
        core = form.remove_core()
        form.remove_entries(others, path)
        form.choose(core, old, path, others)
        new = shipped.with_comments(form.text())
        if safe_yaml.load(new) == form.value:
            return _with_shipped(new, form, path, others), form.changes
    except (AttributeError, LookupError, TypeError, ValueError):
        pass  # entries that are no mappings, or keys that the text does not have
    what = "can't be changed in the form that it has. Write sections and jobs as blocks of settings, without `<<`"
    raise UserError(f"{path}: {what}, and try again.")


class _Form:
    """The values and the text of params.yaml while they change, and the changes so far as sentences."""

    def __init__(self, text: str, value: Value) -> None:
        self.value, self.changes = copy.deepcopy(value), list[str]()
        self._draft = Draft(text)
        self._renamed: dict[params_old.Path, str] = {}
        self.is_new = shipped.has_schema(text)  # as after a merge without a conflict, with old entries of the user

    def text(self) -> str:
        return self._draft.text()

    def rename_options(self) -> None:
        """Give settings their new names."""
        renames = list(params_old.renames(self.value))
        for path, new in renames:
            self._draft.rename(path, new)
            owner = self._at(path[:-1])
            entries = [(new if key == path[-1] else key, entry) for key, entry in owner.items()]
            owner.clear()
            owner.update(entries)
            self._renamed[path] = new

    def remove_core(self) -> list[str]:
        """Remove `core` from jobs; returns those that were of the core roster."""
        entries = params_old.core_entries(self.value)
        for name in entries:
            self._draft.remove(("jobs", name, CORE))
            self.value["jobs"][name].pop(CORE, None)  # an alias is the same job
        return [name for name, chosen in entries.items() if chosen]

    def remove_entries(self, others: Others, path: Path) -> None:
        """Remove entries that params/ has with the same settings."""
        for section, model in MODELS.items():
            removed, changed = list[str](), list[str]()
            for name in list(self.value.get(section) or {}):
                new = JOBS.get(name, name) if section == "jobs" else name
                if not any(new in (sections.get(section) or {}) for sections in others.values()):
                    continue
                mine = params_files.merge(path, self.value, others).value[section][name]
                rest = {key: entry for key, entry in self.value[section].items() if key != name}
                offered = params_files.merge(path, {**self.value, section: rest}, others).value[section][new]
                if _same(model, mine, offered):
                    self.value[section] = rest
                    self._draft.remove((section, name))
                    removed.append(name)
                elif name == new:
                    changed.append(name)
            if removed:
                self.changes.append(f"{section} as shipped, which params/ has now: {', '.join(removed)}")
            if changed:
                self.changes.append(f"{section} that stay, as they would differ in params/: {', '.join(changed)}")
        stay = [path for path in self._renamed if path[0] == "train" or path[1] in self.value[str(path[0])]]
        self.changes += [f"{'.'.join(map(str, path))} is {self._renamed[path]} now" for path in stay]
        self._rename_sources()

    def _rename_sources(self) -> None:
        """Where jobs that stay start from one that has a new name."""
        gone = {old: new for old, new in JOBS.items() if old not in self.value["jobs"]}
        paths = [("jobs", name, *setting) for name in self.value["jobs"] for setting in SOURCES]
        for name, study in (self.value.get("studies") or {}).items():
            paths += [("studies", name, "base", *setting) for setting in SOURCES]
            paths += [("studies", name, "variants", key, *setting) for key in study["variants"] for setting in SOURCES]
        for path in paths:
            owner = self._at(path[:-1])
            if isinstance(owner, dict) and owner.get(path[-1]) in gone:
                self._draft.replace(path, gone[owner[path[-1]]])
                owner[path[-1]] = gone[owner[path[-1]]]

    def choose(self, core: list[str], old: Value, path: Path, others: Others) -> None:
        """Write a roster, and if need be the set `core`, so that the same jobs run; `core`: jobs that said so."""
        if not core and (self.is_new or not self.changes):
            return
        gone = {name: new for name, new in JOBS.items() if name not in self.value["jobs"]}
        words, core = _words(old.get("roster", CORE)), [gone.get(name, name) for name in core]

        def selection(roster: list[str], sets: Value) -> set[str]:
            return _selection(roster, {**self.value, **sets}, path, others)

        if self.is_new:
            wanted = selection(words, {}) | {*(core if CORE in words else [])}
        else:
            wanted = {gone.get(name, name) for name in _old_selection(words, core, old)}
        own = [name for name in core if name not in selection([CORE], {})]
        own_core = {"sets": {**(self.value.get("sets") or {}), CORE: core}}
        order = [gone.get(name, name) for name in [*old["jobs"], *(old.get("studies") or {})]]
        names = [*(name for name in order if name in wanted), *sorted(wanted - {*order})]
        new_words = [new for word in words for new in _new_words(word, gone)]
        with_own = [new for word in new_words for new in ([CORE, *own] if word == CORE else [word])]
        choices: tuple[tuple[list[str], Value], ...] = (
            (words, {}),
            (new_words, {}),
            (with_own, {}),
            (new_words, own_core),
            (names, {}),
        )
        roster, sets = next(choice for choice in choices if choice[0] is names or selection(*choice) == wanted)
        if core:
            self.changes.append(f"`core: true` is removed from {', '.join(core)}")
        if roster != words or "roster" not in self.value or sets:
            top = {"roster": roster if len(roster) > 1 else "".join(roster), **sets}
            self.changes.append(f"the roster is {', '.join(roster)}, so that the same jobs run as before")
            self._draft.set_top(top)
            self.value = {**self.value, **top}

    def _at(self, path: params_old.Path) -> Any:
        value: Any = self.value
        for part in path:
            value = value[int(part)] if isinstance(value, list) else (value or {}).get(part)
        return value


def _words(roster: Any) -> list[str]:
    return [roster] if isinstance(roster, str) else list(roster)


def _new_words(word: str, gone: dict[str, str]) -> list[str]:
    """What an old word of a roster is now: the studies of the papers are two files of params/."""
    return ["studies", "studies-long"] if word == STUDIES else [gone.get(word, word)]


def _old_selection(words: list[str], core: list[str], old: Value) -> set[str]:
    """The names of jobs and studies that a roster stood for in the earlier version."""
    meaning = {CORE: core, ALL: list(old["jobs"]), STUDIES: list(old.get("studies") or {})}
    return {name for word in words for name in meaning.get(word, [word])}


def _selection(words: list[str], value: Value, path: Path, others: Others) -> set[str]:
    """The names of jobs and studies that these words stand for now."""
    files = params_files.merge(path, value, others)
    written = studies.expanded(files.value)
    sets = {**files.sets, **files.value.get("sets", {})}
    jobs = {
        name: params.Job.model_construct(task="", architecture="", dataset=job.get("dataset"))
        for name, job in written["jobs"].items()
    }
    names = params.Params.model_construct(datasets={}, jobs=jobs, sets=sets).resolve(words)
    return {studies.study_of(name) or name for name in names}


def _same(model: type[BaseModel], first: Any, second: Any) -> bool:
    """Whether two entries mean the same, with the defaults of settings that one does not have."""
    try:
        return model.model_validate(first) == model.model_validate(second)
    except ValidationError:
        return bool(first == second)


def _with_shipped(text: str, form: _Form, path: Path, others: Others) -> str:
    """The text with the shipped entries that files of params/ need and the user's file does not have."""
    value = form.value
    while missing := sorted(set(_missing(value, path, others)) & shipped.entries().keys()):
        for section, name in missing:
            entry = shipped.entries()[section, name]
            if section not in value:
                text = f"{text}\n{section}: {{}}\n"
            text = edit.insert(text, section, name, entry, short=section == "datasets")
            value = {**value, section: {**(value.get(section) or {}), name: entry}}
            form.changes.append(f"{section}.{name} is needed by params/, and is added as it is shipped")
    return text


def _missing(value: Value, path: Path, others: Others) -> Iterator[tuple[str, str]]:
    """Section and name of entries that jobs, studies and sets refer to, and no file has."""
    merged = params_files.merge(path, value, others).value
    names_of_words = {name for section in ("datasets", "sets", "jobs", "studies") for name in merged.get(section) or {}}
    for words in (merged.get("sets") or {}).values():
        yield from (("jobs", word) for word in words if word not in names_of_words)
    written = [job for sections in others.values() for job in (sections.get("jobs") or {}).values()]  # with `like`
    for job in [*written, *studies.expanded(merged)["jobs"].values()]:
        names = [
            ("datasets", job.get("dataset")),
            ("augmentation", job.get("augmentation")),
            ("jobs", job.get("like")),
            ("jobs", job.get("extractor")),
            ("jobs", (job.get("pretrained") or {}).get("job")),
        ]
        yield from ((section, name) for section, name in names if name and name not in merged.get(section, {}))
