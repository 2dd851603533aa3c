"""Which definitions count for some roots: all that may run, by name, by class and by plug-in."""

from pathlib import Path

import pytest

from pipeline.reachable import is_part, reach

FILES = {
    "main.py": """
import numpy as np
import torch
from pipeline import helper
from pipeline.helper import CONSTANT as renamed, Net, Rare, Square, unused
from pipeline.parts import deep

TABLE = {"f": deep.listed}

def by_name(x): return renamed + np.sum(x)
def by_module(x): return helper.twice(x)
def by_module_value(name): return getattr(helper, name)
def by_local_import():
    from pipeline.parts.deep import late
    return late()
def by_class(x): return Net()(x)
def by_table(name): return TABLE[name]()
def by_callback(items): return list(map(helper.twice, items))
def by_default(f=helper.twice): return f
def by_decorator():
    @helper.wrap
    def inner(): return 1
    return inner
def annotated(x: "Net") -> Square: return x
def shadowed(renamed): return [helper for helper in renamed]
def tested(x): return 1 if isinstance(x, Rare) else 2
def guarded(x):
    if isinstance(x, Rare):
        return helper.twice(x)
    elif isinstance(x, (int, Square)):
        return deep.late(x)
    return x
def guarded_made(x): return guarded(Rare()) if x else torch.zeros(1)
def structural(x):
    if isinstance(x, helper.Shaped):
        return helper.twice(x)
def named_otherwise(x):
    return helper.twice(x) if isinstance(x, helper.EITHER) else x
def dynamic(name):
    from pipeline import dynamic
    return dynamic.call(name)
def starred(x):
    from pipeline import starred
    return starred.call(x)
def registered(name):
    from pipeline import register
    return register.TABLE[name]
def loaded(plugins, name): return plugins.load("models", name).build(plugins.constant(name, "LEVELS"))
""",
    "helper.py": """
from typing import Protocol
CONSTANT = 1
def twice(x): return 2 * x
def wrap(f): return f
def unused(): return 1
class Base:
    def layer(self): return CONSTANT
class Net(Base):
    def __call__(self, x): return self.forward(x)
    def forward(self, x): return twice(x)
class Square: pass
class Rare: pass
class Shaped(Protocol):
    shape: tuple
EITHER = (Rare, Square)
""",
    "dynamic.py": "def call(name): return globals()[name]\ndef called(): return 1\n",
    "starred.py": "from pipeline.parts.deep import *\ndef call(x): return late(x)\n",
    "register.py": """
import plugins.side
TABLE = {}
def register(f):
    TABLE[f.__name__] = f
    return f
@register
def nobody_names_it(): return 1
def unused(): return 2
""",
    "../plugins/side.py": "import plugins.table\nplugins.table.TABLE['x'] = 1\n",
    "../plugins/table.py": "TABLE = {}\n",
    "parts/__init__.py": "",
    "parts/deep.py": "def late(x=0): return 1\ndef listed(): return 2\n",
    "models/own.py": """
from pipeline.helper import twice
from pipeline.helper import unused as extra
from pipeline import parts
LEVELS = ("a", )
PAPER = 1
def build(levels): return twice(levels)
def figure(): return PAPER
""",
}
TWICE, LATE = "pipeline.helper:twice", "pipeline.parts.deep:late"
NET = {f"pipeline.helper:{name}" for name in ("Net", "Net.__call__", "Net.forward", "Base", "Base.layer", "CONSTANT")}
SIDE = {"plugins.side:<module>", "plugins.table:TABLE"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "pipeline" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def reached(folder: Path, *roots: str, outside: frozenset[str] = frozenset()) -> set[str]:
    names = tuple(f"pipeline.main:{root}" if ":" not in root and "." not in root else root for root in roots)
    code = reach((("pipeline", folder), ("plugins", folder)), names, outside).code
    return {name for name, _ in code} - set(names)


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("by_name", {"pipeline.helper:CONSTANT"}),
        ("by_module", {TWICE}),
        ("by_local_import", {LATE}),
        ("by_class", NET | {TWICE}),
        ("by_table", {"pipeline.main:TABLE", "pipeline.parts.deep:listed"}),
        ("by_callback", {TWICE}),
        ("by_default", {TWICE}),
        ("by_decorator", {"pipeline.helper:wrap"}),
        ("annotated", set()),
        ("shadowed", set()),
        ("tested", set()),
        ("guarded", {LATE}),
        ("guarded_made", {"pipeline.main:guarded", "pipeline.helper:Rare", LATE, TWICE}),
        ("named_otherwise", {TWICE, *(f"pipeline.helper:{name}" for name in ("EITHER", "Rare", "Square"))}),
        ("dynamic", {"pipeline.dynamic:call", "pipeline.dynamic:called"}),
        ("starred", {"pipeline.starred:call", LATE, "pipeline.parts.deep:listed"}),
        ("registered", {f"pipeline.register:{name}" for name in ("TABLE", "register", "<module>")} | SIDE),
        ("structural", {TWICE, "pipeline.helper:Shaped"}),
    ],
)
def test_what_a_definition_uses_counts(folder: Path, root: str, expected: set[str]) -> None:
    assert reached(folder, root) == expected


def test_a_module_used_as_a_value_counts_whole(folder: Path) -> None:
    assert reached(folder, "by_module_value") >= NET | {TWICE, "pipeline.helper:unused"}


def test_of_a_plug_in_counts_what_is_named_anywhere(folder: Path) -> None:
    members = {name for name in reached(folder, "loaded", "pipeline.models.own") if "main" not in name}
    assert members == {"pipeline.models.own:build", "pipeline.models.own:LEVELS", TWICE}


def test_what_is_outside_counts_only_as_a_root(folder: Path) -> None:
    outside = frozenset({"pipeline.helper"})
    assert reached(folder, "by_module", outside=outside) == set()
    assert reached(folder, "by_module", "pipeline.helper:Net", outside=outside) >= {"pipeline.helper:Net.forward"}
    method = frozenset({"pipeline.helper:Net.forward"})
    assert reached(folder, "by_class", outside=method) == NET - method


def test_libraries_count_where_they_are_named(folder: Path) -> None:
    code = (("pipeline", folder),)
    assert reach(code, ("pipeline.main:by_name",), frozenset()).libraries == ("numpy",)
    assert reach(code, ("pipeline.main:guarded_made",), frozenset()).libraries == ("torch",)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.b:C.d", True), ("a.b:C.d.e", True), ("a.b:C", False), ("a.b:C.dd", False), ("a.c:x", True), ("a.cc:x", False)],
)
def test_parts_of_what_is_outside(name: str, expected: bool) -> None:
    assert is_part(name, ["a.b:C.d", "a.c"]) is expected
