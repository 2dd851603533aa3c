"""Faults of form in params.yaml: unknown keys, missing ones, and values of a wrong type.

Faults of content (unknown names, settings that contradict each other) are pipeline/params_checks.py's.
"""

import copy
from collections.abc import Iterable, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from pipeline import params_checks, plugins

if TYPE_CHECKING:
    from pipeline.params import Params


def all_faults(model: type["Params"], value: dict[str, Any], errors: list[Any]) -> list[tuple[str, str]]:
    """All faults, each once: those of form, then those of content in entries without faults of form."""
    by_path, rest = dict[str, list[str]](), copy.deepcopy(value)
    for error in errors:
        path, text = _fault(model, value, error)
        by_path.setdefault(".".join(map(str, path)), []).append(text)
        _drop(rest, path)
    try:
        more = list(params_checks.faults(model.model_validate(rest), value))
    except ValidationError:
        more = []
    faults = [(path, " Or: ".join(texts)) for path, texts in by_path.items()]
    return faults + [(path, text) for path, text in more if path not in by_path]


def _fault(model: type[BaseModel], value: Any, error: Any) -> tuple[tuple[Any, ...], str]:
    """The path of a fault of form in the file (without pydantic's names of union members), and its text."""
    if error["type"] == "missing":
        return error["loc"], "missing. Add it."
    path: list[Any] = []
    for part in error["loc"]:
        if not (part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)):
            break
        path.append(part)
        value = value[part]
    if error["type"] == "extra_forbidden":
        return tuple(path), plugins.unknown("setting", str(path[-1]), _owner(model, path))
    return tuple(path), f"{error['msg']} (found {error['input']!r})."


def _drop(rest: Any, path: tuple[Any, ...]) -> None:
    """Remove the entry at `path`: the list that contains it, or the entry that lacks it."""
    owner, key = rest, None
    for number, part in enumerate(path):
        if not isinstance(rest, dict):
            break
        if part not in rest:
            if number < len(path) - 1:  # gone already
                return
            break
        owner, key, rest = rest, part, rest[part]
    owner.pop(key, None)


def _owner(model: type[BaseModel], path: Sequence[Any]) -> Iterable[str]:
    """The settings of the model to which the key at the end of `path` belongs."""
    owner: Any = model
    for part in path[:-1]:
        inner = owner.model_fields[part].annotation if hasattr(owner, "model_fields") else get_args(owner)[-1]
        is_union = get_origin(inner) in (UnionType, Union)
        owner = next(item for item in get_args(inner) if hasattr(item, "model_fields")) if is_union else inner
    return owner.model_fields
