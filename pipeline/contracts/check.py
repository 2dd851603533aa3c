"""Check plug-ins against their contracts, from their source text: no plug-in is imported, nor is torch."""

import ast
import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from pipeline import plugins
from pipeline.contracts.architecture import Architecture
from pipeline.contracts.derived import Derived
from pipeline.contracts.format import Format
from pipeline.contracts.members import is_optional
from pipeline.contracts.recipe import Recipe
from pipeline.contracts.section import Section
from pipeline.contracts.task import Task
from pipeline.contracts.transform import Transform
from pipeline.errors import UserError

CONTRACTS: dict[str, type[Any]] = {
    "models": Architecture,
    "tasks": Task,
    "prepare.formats": Format,
    "augment.transforms": Transform,
    "augment.derived": Derived,
    "report.sections": Section,
    "recipes": Recipe,
}
#: how alike two names are that are taken for one, from 0 to 1
ALIKE = 0.8


def check(plug_ins: Iterable[tuple[str, str]]) -> None:
    """Raise one UserError with the faults of all plug-ins, given as (kind, name)."""
    texts = [text for kind, name in dict.fromkeys(plug_ins) for text in faults(kind, name)]
    if texts:
        raise UserError("\n".join(texts))


def faults(kind: str, name: str) -> Iterator[str]:
    """What is wrong with a plug-in; each text names its file, the member and the remedy."""
    path = plugins.source(kind, name)
    try:
        defined = dict(_definitions(plugins.tree(path)))
    except UserError as error:
        yield str(error)
        return
    contract = CONTRACTS[kind]
    where, about = plugins.displayed(path), f"{contract.__module__.replace('.', '/')}.py describes it"
    for member, type_ in _types(kind).items():
        if member in defined:
            yield from (f"{where}: {member}: {text}" for text in _constant_faults(path, member, type_, kind, name))
        elif not hasattr(contract, member):
            yield f"{where}: {member} is missing{_hint(member, defined)}. Add it; {about}."
    for member, function in functions(contract).items():
        if member in defined:
            yield from (f"{where}: {member}: {text}" for text in _function_faults(path, defined, member, function))
        elif not is_optional(function):
            yield f"{where}: {member} is missing{_hint(member, defined)}. Add the function; {about}."
    yield from (f"{where}: {text}" for text in _misspelled(contract, path, defined, kind))


def constants(contract: type[Any]) -> dict[str, Any]:
    """The constants of a contract and their types; those with a default are attributes of it."""
    return get_type_hints(contract, include_extras=True)


@functools.cache
def _types(kind: str) -> dict[str, TypeAdapter[Any]]:
    """What checks the constants of a kind's plug-ins; making one takes longer than any check."""
    return {name: TypeAdapter(annotation) for name, annotation in constants(CONTRACTS[kind]).items()}


def functions(contract: type[Any]) -> dict[str, Callable[..., Any]]:
    """The functions of a contract by name."""
    return {
        name: value for name, value in vars(contract).items() if inspect.isfunction(value) and not name.startswith("_")
    }


def _definitions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """What a file defines or imports at its top level: functions and classes, values, imports."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node
            case ast.Assign(targets=targets, value=value):
                yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                yield from ((alias.asname or alias.name.partition(".")[0], node) for alias in aliases)


def _constant_faults(path: Path, member: str, type_: TypeAdapter[Any], kind: str, name: str) -> Iterator[str]:
    try:
        value = plugins.constant(kind, name, member)
    except UserError as error:
        yield str(error).removeprefix(f"{plugins.displayed(path)}: {member}: ")
        return
    if value is None and member not in _assigned(path):
        yield "it is read without running the file, so its value must be written out. Write it as a literal."
    else:
        yield from (f"{text} (found {value!r}). Correct it." for text in _misfits(type_, value))


def _assigned(path: Path) -> set[str]:
    """Names to which the file assigns a value at its top level."""
    return {name for name, node in _definitions(plugins.tree(path)) if isinstance(node, ast.expr)}


def _misfits(type_: TypeAdapter[Any], value: Any) -> list[str]:
    """Why a value does not fit a type; of a union the reasons of the first alternative."""
    try:
        type_.validate_python(value, strict=True)
    except ValidationError as error:
        (first, *_) = error.errors()
        message = str(first["msg"]).removeprefix("Value error, ").partition(" or instance of")[0].rstrip(".")
        missing = first["type"] == "missing"
        inner = [str(part) for part in first["loc"] if missing or isinstance(part, int) or str(part) in str(value)]
        return [f"{'.'.join(inner)}: {message}" if inner else message]
    return []


def _function_faults(
    path: Path, defined: dict[str, ast.AST], member: str, contract: Callable[..., Any]
) -> Iterator[str]:
    definition = plugins.function_of(path, member)
    if definition is None:
        node = defined[member]
        if isinstance(node, ast.AsyncFunctionDef | ast.Constant | ast.Tuple | ast.List | ast.Dict):
            yield "must be a function. Write it as `def`."
        return  # a class, or a function of a library: its arguments can't be seen here
    expected = [parameter for parameter in inspect.signature(contract).parameters.values() if parameter.name != "self"]
    wanted = [parameter.name for parameter in expected if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    given = [argument.arg for argument in (*definition.args.posonlyargs, *definition.args.args)]
    shown = ", ".join([*wanted, "*, …"] if any(each.kind is each.VAR_KEYWORD for each in expected) else wanted)
    if given != wanted:
        yield f"takes ({', '.join(given)}), but is called with ({', '.join(wanted)}). Write `def {member}({shown})`."
    options = [argument.arg for argument in definition.args.kwonlyargs]
    for parameter in expected:
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in options:
            yield f"has no option {parameter.name}. Add it after `*`, with a default."
    takes_options = any(parameter.kind is parameter.VAR_KEYWORD for parameter in expected)
    if not takes_options and (options or definition.args.kwarg):
        yield f"has options, which nobody sets. Write `def {member}({shown})`."


def _hint(member: str, defined: Iterable[str]) -> str:
    """`; TASK is similar`, if the file defines something of a similar name."""
    near = [name for name in defined if alike(name, member)]
    return f"; {near[0]} is similar" if near else ""


def alike(first: str, second: str) -> bool:
    """Whether one name may be the other, misspelled or in other case."""
    return difflib.SequenceMatcher(None, first.lower(), second.lower()).ratio() >= ALIKE


def _misspelled(contract: type[Any], path: Path, defined: dict[str, ast.AST], kind: str) -> Iterator[str]:
    """Names that are almost those of optional members, which would be overlooked.

    A constant whose value does not fit the member's type is one of the file's own, such as `HEADS = 8`.
    """
    types = {key: item for key, item in _types(kind).items() if hasattr(contract, key)}
    optional = [key for key, item in functions(contract).items() if is_optional(item)]
    members = {*_types(kind), *functions(contract)}
    for name, node in defined.items():
        if name.startswith("_") or name in members or isinstance(node, ast.Import | ast.ImportFrom):
            continue
        is_function = isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Attribute | ast.Name)
        candidates = optional if is_function else [key for key, item in types.items() if _may_be(item, node)]
        near = [member for member in candidates if member not in defined and alike(name, member)]
        if near:
            yield (
                f"{name} is no member of a {plugins.KINDS[kind]}; did you mean {near[0]}? "
                f"Rename it, or call it _{name} if it is the file's own."
            )


def _may_be(type_: TypeAdapter[Any], node: ast.AST) -> bool:
    try:
        return isinstance(node, ast.expr) and not _misfits(type_, ast.literal_eval(node))
    except ValueError:
        return True
