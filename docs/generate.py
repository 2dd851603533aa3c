"""`python -m docs.generate` fills the parts of these pages that the code decides, and writes params.schema.json.

Tests fail where that was forgotten. Such a part stands between `<!-- generated: NAME -->` and `<!-- end -->`. All of it
is read from the source text of the plug-ins, so that no torch is imported.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from convline import frame
from convline.commands import new
from pipeline import params_schema, plugins
from pipeline.report import _glossary

HERE = Path(__file__).parent
PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Write the schema and the pages that have changed."""
    pages = {page: filled(page.read_text(encoding="utf-8")) for page in sorted(HERE.glob("*.md"))}
    for path, after in {**pages, HERE.parent / params_schema.FILE: params_schema.text()}.items():
        if not path.exists() or path.read_text(encoding="utf-8") != after:
            path.write_text(after, encoding="utf-8")
            print(path)


def filled(text: str) -> str:
    """A page's text with its generated parts as the code decides them today."""
    return PART.sub(lambda match: match[1] + "\n" + "\n".join(PARTS[match[2]]()).rstrip() + "\n\n" + match[3], text)


def architectures() -> Iterator[str]:
    """A section an architecture: what it is, its paper, its tasks, parameters, and the options of its `build`."""
    for name in _shipped("models"):
        paragraphs = _paragraphs("models", name)
        paper = plugins.constant("models", name, "PAPER")
        tasks = ", ".join(plugins.constant("models", name, "TASKS"))
        yield f"## {name}\n"
        yield from (f"{_linked(paragraph)}\n" for paragraph in paragraphs)
        parameters = f" Parameters at its PAPER settings: {paper['parameters']:,}." if paper else ""
        yield f"Tasks: {tasks}.{parameters}\n"
        yield from _options("models", name, "build")


def formats() -> Iterator[str]:
    """A section a format: what it reads, and the options of its `read`."""
    for name in _shipped("prepare.formats"):
        yield f"### {name}\n"
        what = _paragraphs("prepare.formats", name)[0].partition(": ")[2]
        yield f"{_linked(what[:1].upper() + what[1:])}\n"
        yield from _options("prepare.formats", name, "read")


def transforms() -> Iterator[str]:
    """A row a transform: what it changes, and its options with their defaults."""
    yield "| transform | what it does | options |"
    yield "|---|---|---|"
    for name in _shipped("augment.transforms"):
        build = _function("augment.transforms", name, "build")
        what = _paragraphs("augment.transforms", name)[0].partition(": ")[2]
        about = (ast.get_docstring(build) or "").replace("\n", " ")
        yield f"| `{name}` | {what[:1].upper()}{what[1:]} {about} | {', '.join(_arguments(build))} |"


def tasks() -> Iterator[str]:
    """A row a task: its primary score, which way is better, and the fields that every sample must have."""
    yield "| task | what is learnt | primary score | better | needs |"
    yield "|---|---|---|---|---|"
    for name in _shipped("tasks"):
        primary, higher, needs = (
            plugins.constant("tasks", name, constant) for constant in ("PRIMARY", "HIGHER_IS_BETTER", "NEEDS")
        )
        what = _paragraphs("tasks", name)[0].partition(": ")[2].rstrip(".")
        needed = ", ".join(f"`{field}`" for field in needs) or "nothing"
        yield f"| `{name}` | {what} | `{primary}` | {'higher' if higher else 'lower'} | {needed} |"


def measures() -> Iterator[str]:
    """A row a measure, in the sentences that the report shows."""
    yield "| measure | meaning |"
    yield "|---|---|"
    for name, meaning in _glossary.meanings().items():
        yield f"| `{name}` | {meaning} |"


def plug_ins() -> Iterator[str]:
    """The file of each kind that `convline new` writes."""
    for kind in new.KINDS:
        yield f"## {kind}\n"
        yield f"```python\n{new.skeleton(kind, 'mine').rstrip()}\n```\n"


def _shipped(kind: str) -> list[str]:
    """Names of the plug-ins of the pipeline, without a user's own."""
    return [name for name in plugins.names(kind) if name not in plugins.own_names(kind)]


def _paragraphs(kind: str, name: str) -> list[str]:
    """The paragraphs of a plug-in's docstring, each on one line."""
    tree = ast.parse(plugins.source(kind, name).read_text(encoding="utf-8"))
    return [" ".join(part.split()) for part in (ast.get_docstring(tree) or "").split("\n\n")]


def _function(kind: str, name: str, function: str) -> ast.FunctionDef:
    tree = ast.parse(plugins.source(kind, name).read_text(encoding="utf-8"))
    return next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)


def _arguments(function: ast.FunctionDef) -> list[str]:
    """The keyword-only arguments with their defaults, as code."""
    pairs = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return [f"`{name.arg}={ast.unparse(value)}`" if value else f"`{name.arg}`" for name, value in pairs]


def _options(kind: str, name: str, function: str) -> Iterator[str]:
    """The options of a plug-in's function: defaults, then what its docstring says of them."""
    node = _function(kind, name, function)
    arguments = _arguments(node)
    yield f"Options: {', '.join(arguments)}.\n" if arguments else "No options.\n"
    _, _, described = (ast.get_docstring(node) or "").partition("\n\n")
    if described and arguments:
        parts = re.split(r"[ \n]·[ \n]|(?<!,)\n(?=[a-z_]+(?:, [a-z_]+)*: )", described)
        yield from (f"- {_linked(' '.join(part.split()))}" for part in parts)
        yield ""


def _linked(text: str) -> str:
    """Addresses as links, and what Markdown or HTML would take for markup as text."""
    text = re.sub(r"(`[^`]*`)|([<>])", lambda match: match[1] or {"<": "&lt;", ">": "&gt;"}[match[2]], text)
    return re.sub(r"(?<!`)\bhttps?://[^\s),;]*[^\s),;.:]", lambda match: f"[{match[0]}]({match[0]})", text)


def commands() -> Iterator[str]:
    """A section a command: its help as a terminal of 80 columns shows it."""
    for name in frame.names():
        yield f"## convline {name}\n\n```text\n{frame.help_text(name)}\n```\n"


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "architectures": architectures,
    "formats": formats,
    "transforms": transforms,
    "tasks": tasks,
    "measures": measures,
    "plug_ins": plug_ins,
    "commands": commands,
}

if __name__ == "__main__":
    main()
