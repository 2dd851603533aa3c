"""The definitions of our code by name: functions, classes with their methods, constants; and what each refers to.

A module is read by its syntax tree and never imported.
"""

import ast
import functools
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.decisive_text import strip
from pipeline.store import digest

#: packages whose modules are read, and the folders that they lie in; all others are libraries
Folders = tuple[tuple[str, Path], ...]
#: packages of ours
OURS = ("pipeline", "plugins")
#: a module's statements that define nothing, but run when it is imported
BODY = "<module>"


#: what the import of all of a module is kept as, before the module's name
STAR = "*"


@dataclass(frozen=True)
class Reference:
    """A dotted name that a definition uses; with guards: only for instances of one of these classes."""

    name: str
    guards: tuple[str, ...] = ()


class Definition:
    """A definition, analysed when it is asked for: what nothing refers to costs nothing."""

    def __init__(self, nodes: list[ast.stmt], package: str) -> None:
        self.nodes, self.package = nodes, package

    @functools.cached_property
    def text(self) -> str:
        """What can change a result."""
        return "\n".join(ast.unparse(node) for node in self.nodes)

    @functools.cached_property
    def digest(self) -> str:
        """The first half of the text's sha256, short enough for people."""
        return digest(self.text)[:16]

    @functools.cached_property
    def imports(self) -> dict[str, str]:
        """Names that the definition imports itself, and what they stand for."""
        return {name: target for node in self.nodes for name, target in _imports(node, self.package).items()}

    @functools.cached_property
    def words(self) -> frozenset[str]:
        """All attributes and texts, by which members of plug-ins are found, since those are loaded by name."""
        inner = [item for node in self.nodes for item in ast.walk(node)]
        texts = (item.value for item in inner if isinstance(item, ast.Constant))
        attributes = (item.attr for item in inner if isinstance(item, ast.Attribute))
        return frozenset({*attributes, *(value for value in texts if isinstance(value, str))})

    @functools.cached_property
    def references(self) -> tuple[Reference, ...]:
        """The names that it looks up in its module or imports itself."""
        names = _global_names(symtable.symtable(self.text, "definition", "exec")) | self.imports.keys()
        all_references = (item for node in self.nodes for item in _references(node, ()))
        return tuple(dict.fromkeys(_with_names(all_references, names)))

    @property
    def lines(self) -> list[tuple[int, int]]:
        """First and last line of each of its parts in the file."""
        return [(_first_line(node), node.end_lineno or node.lineno) for node in self.nodes]

    @property
    def is_class(self) -> bool:
        """Whether it is a class, whose methods are definitions beside it."""
        return any(isinstance(node, ast.ClassDef) for node in self.nodes)


@dataclass
class Module:
    """A module's definitions by name (methods as `Class.method`), and its imports: name → what it stands for."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)

    def methods(self, name: str) -> list[str]:
        """The methods of a class."""
        return [other for other in self.definitions if other.startswith(f"{name}.")]


def path_of(folders: Folders, module: str) -> Path | None:
    """A module's file; None if it is a library's, or a folder without `__init__.py`."""
    parts = module.split(".")
    folder = dict(folders).get(parts[0])
    path = Path() if folder is None else folder.joinpath(*parts)
    candidates = () if folder is None else (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@functools.cache
def read(folders: Folders, module: str) -> Module | None:
    """The definitions of a module, read once per process; None if it is no module of ours."""
    path = path_of(folders, module)
    if path is None:
        return None
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return parse(path.read_text(encoding="utf-8"), package)


@functools.cache
def parse(source: str, package: str = "") -> Module:
    """The definitions in the source of a module of a package; equal sources are parsed once."""
    made, nodes = Module(), dict[str, list[ast.stmt]]()
    for node in strip(ast.parse(source)).body:
        made.imports |= {} if isinstance(node, _Scope) else _imports(node, package)
        if isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.ClassDef):
            methods = [item for item in node.body if isinstance(item, _Function)]
            for method in methods:
                nodes.setdefault(f"{node.name}.{method.name}", []).append(method)
            node.body = [item for item in node.body if item not in methods] or [ast.Pass()]
        for name in _defined(node) or [BODY]:
            nodes.setdefault(name, []).append(node)
        ours = {name for name, target in made.imports.items() if target.split(".")[0] in OURS}
        if isinstance(node, _Scope) and _registers(node, nodes.keys() | ours):
            nodes.setdefault(BODY, []).append(node)
    made.definitions = {name: Definition(parts, package) for name, parts in nodes.items()}
    return made


_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Scope = _Function | ast.ClassDef


def _defined(node: ast.stmt) -> list[str]:
    """Names that a module's statement defines, an `if` or `try` all those in it."""
    if isinstance(node, _Scope):
        return [node.name]
    if isinstance(node, ast.Expr):
        return []
    inner = list(ast.walk(node))
    names = [item.id for item in inner if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store)]
    return list(dict.fromkeys([*names, *(item.name for item in inner if isinstance(item, _Scope))]))


def _registers(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, names: set[str]) -> bool:
    """Whether a decorator of ours may put the definition into a table, so that nothing names it."""
    decorators = (item.func if isinstance(item, ast.Call) else item for item in node.decorator_list)
    return any(_dotted(item).split(".")[0] in names for item in decorators)


def _imports(tree: ast.AST, package: str) -> dict[str, str]:
    """Names that a statement imports, and the dotted names that they stand for."""
    imports: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.asname or alias.name: alias.name for alias in node.names}
            imports |= {first: first for alias in node.names if not alias.asname for first in alias.name.split(".")[:1]}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            imports |= {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names}
            imports |= {f"{STAR}{origin}": origin for alias in node.names if alias.name == "*"}
    return imports


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _global_names(table: symtable.SymbolTable, *, top: bool = True) -> set[str]:
    """Names that a definition, in any of its scopes, looks up in its module."""
    symbols = (symbol for symbol in table.get_symbols() if symbol.is_referenced() and (top or symbol.is_global()))
    inner = (_global_names(child, top=False) for child in table.get_children())
    return {symbol.get_name() for symbol in symbols}.union(*inner)


def _with_names(references: Iterable[Reference], names: set[str]) -> Iterator[Reference]:
    """References to names that are looked up in the module; a guard that is not such a name guards nothing."""
    for item in references:
        if item.name.split(".")[0] in names:
            known_guards = all(guard.split(".")[0] in names for guard in item.guards)
            yield item if known_guards else Reference(item.name)


def _references(node: ast.AST, guards: tuple[str, ...]) -> Iterator[Reference]:
    """All dotted names in a tree. What stands under `if isinstance(…, C)` is guarded by C, and so is that C itself.

    So a class that is only tested does not count: if nothing makes an instance, the answer is no.
    """
    if isinstance(node, ast.Name | ast.Attribute) and (dotted := _dotted(node)):
        yield Reference(dotted, guards)
    elif isinstance(node, ast.If | ast.IfExp) and (classes := _tested(node.test)):
        body, orelse = ([part] if isinstance(part, ast.expr) else part for part in (node.body, node.orelse))
        yield from _all_references([node.test, *orelse], guards)
        yield from _all_references(body, classes)
    elif isinstance(node, ast.Call) and (classes := _tested(node)):
        yield from _references(node.args[0], guards)
        yield from (Reference(name, (name,)) for name in classes)
    else:
        yield from _all_references(ast.iter_child_nodes(node), guards)


def _all_references(nodes: Iterable[ast.AST], guards: tuple[str, ...]) -> Iterator[Reference]:
    for node in nodes:
        yield from _references(node, guards)


def _tested(node: ast.expr) -> tuple[str, ...]:
    """The classes of an `isinstance(…, A | B)` or `isinstance(…, (A, B))`, if all are dotted names."""
    if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance" and len(node.args) == 2):
        return ()
    waiting, classes = [node.args[1]], list[str]()
    while waiting:
        item = waiting.pop()
        if isinstance(item, ast.Tuple):
            waiting += item.elts
        elif isinstance(item, ast.BinOp):
            waiting += [item.left, item.right]
        elif dotted := _dotted(item):
            classes.append(dotted)
        else:
            return ()
    return tuple(classes)


def _dotted(node: ast.expr) -> str:
    """`a.b.c` of names and attributes; empty for others."""
    if isinstance(node, ast.Name):
        return node.id
    inner = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner and isinstance(node, ast.Attribute) else ""
