"""The folder listing is the registry: `pipeline/models/lenet5.py` *is* the architecture `lenet5`.

A user's own plug-ins lie in `plugins/` beside `pipeline/`, as `plugins/models/NAME.py`, and are found in the same way.
Names, constants and options are read from the source text, so checking params.yaml imports no torch.
A name that starts with `_` is no plug-in. What a plug-in holds is written in pipeline/contracts/.
"""

import ast
import contextlib
import difflib
import functools
import importlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline import project
from pipeline.errors import UserError

ROOT = Path(__file__).parent
#: the user's own plug-ins; in a registered model, the copy that was logged with it
OWN = project.ROOT / "plugins"
#: kind of plug-in → what a person calls one of them
KINDS = {
    "models": "architecture",
    "tasks": "task",
    "prepare.formats": "format",
    "augment.transforms": "transform",
    "augment.derived": "derived field",
    "report.sections": "report section",
    "recipes": "recipe",
}


def own_folder(kind: str) -> Path:
    """Where the user's own plug-ins of a kind lie: `plugins/formats` for `prepare.formats`."""
    return OWN / kind.rpartition(".")[2]


#: plug-ins by folder, within `listed_once`
_listed_folders: ContextVar[dict[Path, dict[str, Path]] | None] = ContextVar("_listed_folders", default=None)


def names(kind: str) -> list[str]:
    """Names of all plug-ins of a kind, sorted."""
    return sorted(_folders(kind))


def own_names(kind: str) -> list[str]:
    """Names of the user's own plug-ins of a kind, sorted."""
    return [name for name, folder in sorted(_folders(kind).items()) if folder.is_relative_to(OWN)]


def _folders(kind: str) -> dict[str, Path]:
    """The folder of each plug-in of a kind, by name; UserError if a name exists in pipeline/ and in plugins/."""
    shipped, own = _listed(ROOT.joinpath(*kind.split("."))), _listed(own_folder(kind))
    for name in sorted(shipped.keys() & own.keys()):
        files = f"{displayed(_file(own, name))} and {displayed(_file(shipped, name))}"
        raise UserError(f"{files}: two plug-ins have one name. Rename the one in plugins/.")
    return shipped | own


@contextlib.contextmanager
def listed_once() -> Iterator[None]:
    """List each folder once while the block runs, though it asks thousands of times for its plug-ins."""
    token = _listed_folders.set(_listed_folders.get() or {})
    try:
        yield
    finally:
        _listed_folders.reset(token)


def _listed(folder: Path) -> dict[str, Path]:
    """The folder, by the names of its plug-ins."""
    listed = _listed_folders.get()
    if listed is not None and folder in listed:
        return listed[folder]
    names = [path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")]
    by_name = dict.fromkeys(names, folder)
    if listed is not None:
        listed[folder] = by_name
    return by_name


def _file(folders: Mapping[str, Path], name: str) -> Path:
    return folders[name] / f"{name}.py"


def load(kind: str, name: str) -> ModuleType:
    """Import the plug-in; UserError with the right names if there is none."""
    module = module_name(kind, name)
    if module.startswith("plugins.") and str(OWN.parent) not in sys.path:
        sys.path.append(str(OWN.parent))  # where `plugins` is a namespace package
    return importlib.import_module(module)


def module_name(kind: str, name: str) -> str:
    """`pipeline.models.lenet5`, or `plugins.models.mine` of the user's own; UserError if there is no such plug-in."""
    source(kind, name)
    return f"plugins.{kind.rpartition('.')[2]}.{name}" if name in own_names(kind) else f"pipeline.{kind}.{name}"


def source(kind: str, name: str) -> Path:
    """The plug-in's file; UserError with the right names if there is none."""
    folders = _folders(kind)
    if name not in folders:
        raise UserError(unknown(KINDS[kind], name, folders))
    return _file(folders, name)


def displayed(path: Path) -> str:
    """A plug-in's file as messages name it, from the folder that holds pipeline/ or plugins/."""
    root = OWN.parent if path.is_relative_to(OWN) else ROOT.parent
    return path.relative_to(root).as_posix()


def unknown(what: str, name: str, names: Iterable[str]) -> str:
    """`no task is named 'clasification'; did you mean 'classification'? There are: …`"""
    names = sorted(names)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"no {what} is named {name!r}{hint} There are: {', '.join(names) or 'none'}."


def tree(path: Path) -> ast.Module:
    """The syntax tree of a file; UserError with the line if it is no valid Python."""
    try:
        return _parsed(path)
    except SyntaxError as error:
        where = f"{displayed(path)}:{error.lineno}"
        raise UserError(f"{where}: not valid Python ({error.msg}). Correct the line.") from error


@functools.cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def constant(kind: str, name: str, constant_name: str) -> Any:
    """The literal value of a module-level constant, or None where the plug-in has none."""
    path = source(kind, name)
    for node in tree(path).body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(target, ast.Name) and target.id == constant_name for target in targets):
            try:
                return ast.literal_eval(node.value)
            except ValueError as error:
                why = "it is read without running the file, so its value must be written out. Write it as a literal."
                raise UserError(f"{displayed(path)}: {constant_name}: {why}") from error
    return None


def options(kind: str, name: str, function: str) -> list[str] | None:
    """Keyword-only arguments of a plug-in's function: its options. None where it has no such function."""
    definition = function_of(source(kind, name), function)
    return None if definition is None else [argument.arg for argument in definition.args.kwonlyargs]


def takes_any_option(kind: str, name: str, function: str) -> bool:
    """Whether a plug-in's function ends with `**options`, which it checks itself."""
    definition = function_of(source(kind, name), function)
    return definition is not None and definition.args.kwarg is not None


def function_of(path: Path, name: str) -> ast.FunctionDef | None:
    """The definition of a file's function, followed into other files of pipeline/ and plugins/ that it is taken from.

    Followed are `from pipeline.tasks.classification import rows` and `rows = classification.rows`.
    """
    imported: dict[str, str] = {}
    assigned: dict[str, str] = {}
    for node in tree(path).body:
        match node:
            case ast.FunctionDef() if node.name == name:
                return node
            case ast.ImportFrom(module=module):
                imported |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in node.names}
            case ast.Import():
                imported |= {alias.asname: alias.name for alias in node.names if alias.asname}
            case ast.Assign(targets=[ast.Name(id=target)], value=ast.Attribute() | ast.Name() as value):
                assigned[target] = ast.unparse(value)
    first, _, rest = assigned.get(name, name).partition(".")
    module, _, function = ".".join(filter(None, (imported.get(first, first), rest))).rpartition(".")
    file = _file_of(module)
    return function_of(file, function) if file is not None else None


def _file_of(module: str) -> Path | None:
    """The file of a module of pipeline/ or plugins/; None of any other."""
    root = {"pipeline": ROOT.parent, "plugins": OWN.parent}.get(module.partition(".")[0])
    file = None if root is None else root.joinpath(*module.split(".")).with_suffix(".py")
    return file if file is not None and file.is_file() else None


def needed_fields(architecture: str) -> list[str]:
    """The derived fields that an architecture reads beside the image."""
    exists = architecture in names("models")
    return list(constant("models", architecture, "NEEDS") or ()) if exists else []


def derived_fields(architecture: str, loss: Mapping[str, Any]) -> list[str]:
    """The derived fields that an architecture needs or that its loss uses: each is a loss option of its own name."""
    needed = needed_fields(architecture)
    return [name for name in names("augment.derived") if name in needed or loss.get(name)]


def network_task(task: str) -> str:
    """The task whose architectures do this one: itself, or the one that its NETWORKS names."""
    return str(constant("tasks", task, "NETWORKS") or task)
