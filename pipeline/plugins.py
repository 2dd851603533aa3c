"""The folder listing is the registry: `pipeline/models/lenet5.py` *is* the architecture `lenet5`.

Names, constants and options are read from the source text, so checking params.yaml imports no torch.
A name that starts with `_` is no plug-in.
"""

import ast
import difflib
import functools
import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import UserError

ROOT = Path(__file__).parent
#: kind of plug-in → what a person calls one of them
KINDS = {
    "models": "architecture",
    "tasks": "task",
    "prepare.formats": "format",
    "augment.transforms": "transform",
    "augment.derived": "derived field",
    "report.sections": "report section",
}


def names(kind: str) -> list[str]:
    """Names of all plug-ins of a kind, sorted."""
    folder = ROOT.joinpath(*kind.split("."))
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def load(kind: str, name: str) -> ModuleType:
    """Import the plug-in; UserError with the right names if there is none."""
    source(kind, name)
    return importlib.import_module(f"pipeline.{kind}.{name}")


def source(kind: str, name: str) -> Path:
    """The plug-in's file; UserError with the right names if there is none."""
    if name not in names(kind):
        raise UserError(unknown(KINDS[kind], name, names(kind)))
    return ROOT.joinpath(*kind.split("."), f"{name}.py")


def unknown(what: str, name: str, names: Iterable[str]) -> str:
    """`no task is named 'clasification'; did you mean 'classification'? There are: …`"""
    names = sorted(names)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"no {what} is named {name!r}{hint} There are: {', '.join(names) or 'none'}."


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def constant(kind: str, name: str, constant_name: str) -> Any:
    """The literal value of a module-level constant, or None where the plug-in has none."""
    for node in _tree(source(kind, name)).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(target, ast.Name) and target.id == constant_name for target in targets):
            return ast.literal_eval(node.value)
    return None


def options(kind: str, name: str, function: str) -> list[str] | None:
    """Keyword-only arguments of a plug-in's function: its options. None where it has no such function."""
    for node in _tree(source(kind, name)).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return [argument.arg for argument in node.args.kwonlyargs]
    return None


def needed_fields(architecture: str) -> list[str]:
    """The derived fields that an architecture reads beside the image."""
    exists = architecture in names("models")
    return list(constant("models", architecture, "NEEDS") or ()) if exists else []


def derived_fields(architecture: str, loss: Mapping[str, Any]) -> list[str]:
    """The derived fields that an architecture needs or that its loss uses: each is a loss option of its own name."""
    needed = needed_fields(architecture)
    return [name for name in names("augment.derived") if name in needed or loss.get(name)]
