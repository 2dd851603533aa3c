"""What every format must keep, whichever files it reads: a new one is tested without an edit here."""

import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline import plugins
from pipeline.errors import UserError
from pipeline.sample import SPLITS, Classes, Fault, Sample

FORMATS = plugins.names("prepare.formats")


#: of made images: so many say as much as the thousand that a format makes by default
FEW = 8


def outcome(module: ModuleType, path: Path | None) -> list[Any] | UserError:
    defaults = {name: option.default for name, option in inspect.signature(module.read).parameters.items()}
    few = {name: FEW for name, value in defaults.items() if type(value) is int and value > FEW}
    try:
        return list(module.read(path, **few))
    except UserError as error:
        return error


@pytest.mark.parametrize("name", FORMATS)
def test_options_are_keyword_only_typed_and_explained(name: str) -> None:
    module = plugins.load("prepare.formats", name)
    first, *options = inspect.signature(module.read).parameters.values()
    assert first.name == "path"
    assert [option.name for option in options] == plugins.options("prepare.formats", name, "read")
    for option in options:
        assert option.kind is inspect.Parameter.KEYWORD_ONLY
        assert option.annotation is not inspect.Parameter.empty
        assert re.search(rf"\b{option.name}\b", inspect.getdoc(module.read) or ""), f"{option.name} is not explained"
    assert module.__doc__


@pytest.mark.parametrize("name", FORMATS)
def test_without_a_path_it_reads_what_is_embedded_or_asks_for_one(name: str) -> None:
    module = plugins.load("prepare.formats", name)
    found = outcome(module, None)
    if isinstance(found, UserError):
        assert "path" in str(found)
        return
    classes, *items = found
    assert isinstance(classes, Classes)
    samples = [item for item in items if isinstance(item, Sample)]
    assert len(samples) == len(items)
    assert len({sample.id for sample in samples}) == len(samples)
    assert {sample.split for sample in samples} <= {None, *SPLITS}
    again = outcome(module, None)
    assert isinstance(again, list)
    assert [item.id for item in again[1:]] == [sample.id for sample in samples]


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_folder_and_a_missing_one_are_reported(name: str, tmp_path: Path) -> None:
    module = plugins.load("prepare.formats", name)
    for path in (tmp_path, tmp_path / "missing"):
        found = outcome(module, path)
        if isinstance(found, UserError):
            assert str(path) in str(found)
        else:
            assert any(isinstance(item, Sample | Fault) for item in found)
