"""The fingerprint of a result: one digest of the settings, data, code and library versions that decide it.

Code counts by its syntax tree without docstrings, so a comment or a reformatting makes nothing stale.
Imports are followed inside pipeline/; the caller names the plug-ins, because they are loaded by name.
"""

import ast
import functools
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.store import digest

ROOT = Path(__file__).parent.parent
#: modules that pass on settings and results but do not decide them
OUTSIDE = frozenset(
    f"pipeline.{name}"
    for name in (
        "augment.ray_augment",
        "errors",
        "fingerprint",
        "params",
        "plugins",
        "store",
        "terminal",
        "tracking",
        "train.job_state",
        "train.ray_train",
        "train.reads",
    )
)
LIBRARIES = ("torch", "torchvision", "albumentations")


def compute_fingerprint(modules: Iterable[str], **parts: Any) -> str:
    """sha256 over the code of `modules`, the library versions, and the given JSON values."""
    return digest({"code": code(modules), "libraries": {name: version(name) for name in LIBRARIES}, **parts})


def code(modules: Iterable[str]) -> dict[str, str]:
    """Digest of the syntax tree of each of `modules` and of every module of pipeline/ that they import."""
    digests: dict[str, str] = {}
    to_read = list(modules)
    while to_read:
        module = to_read.pop()
        if module not in digests and module not in OUTSIDE:
            digests[module], imported = read_module(_path(module))
            to_read.extend(imported)
    return dict(sorted(digests.items()))


def _path(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def read_module(path: Path) -> tuple[str, tuple[str, ...]]:
    """Digest of a module's code without its docstrings, and the names of what it imports."""
    if not path.exists():  # a folder of plug-ins without an __init__.py
        return "", ()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = tuple(_imports(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return digest(ast.unparse(tree)), imported


def _imports(tree: ast.Module) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("pipeline."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pipeline":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = _path(inner).exists() or ROOT.joinpath(*inner.split(".")).is_dir()
                yield inner if is_module else str(node.module)
