"""The rules of the house, read off its files: one word one meaning, tools at the edge, small files, no surprises."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.repro import STAGES

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("convline", "flows", "pipeline") for path in (ROOT / folder).rglob("*.py"))
FILE_LINES, FUNCTION_LINES = 300, 60
#: library → where it may be imported: files, or folders that end with /
EDGES = {
    "prefect": ("flows/",),
    "ray": ("pipeline/train/ray_train.py",),
    "mlflow": ("pipeline/tracking.py", "pipeline/register/"),
    "albumentations": ("pipeline/augment/",),
    "onnx": ("pipeline/export/formats/onnx.py",),
    "onnxruntime": ("pipeline/export/formats/onnx.py",),
    "torchvision.models": (
        "pipeline/pretrained_weights.py",
        *(
            f"pipeline/models/{name}.py"
            for name in (
                "parts/rcnn",
                "parts/torchvision_detection",
                "parts/torchvision_segmentation",
                "torchvision",
                "faster_rcnn",
                "mask_rcnn",
            )
        ),
    ),
}
#: calls at import that only make a value
VALUES = {
    "Field",
    "Path",
    "ConfigDict",
    "TypeVar",
    "dataclass",
    "dict",
    "field",
    "flow",
    "frozenset",
    "importlib.util.find_spec",
    "min",
    "logging.getLogger",
    "os.cpu_count",
    "range",
    "re.compile",
    "torch.inference_mode",
    "torch.no_grad",
    "set",
    "sorted",
    "tuple",
    "typer.Argument",
    "typer.Option",
}
MAKERS = ("pa", "np", "dataclasses", "datetime", "functools")
#: who prints: what a command was asked for, what a process below says, and messages themselves
PRINTING = {
    *(path.relative_to(ROOT).as_posix() for path in (ROOT / "convline/commands").glob("*.py")),
    "convline/frame.py",
    "flows/_jobs.py",
    "flows/_processes.py",
    "pipeline/logs.py",
}
#: files that another program runs as they are
SCRIPTS = {"pipeline/register/answers.py", "pipeline/register/predictor.py"}


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[str]:
    """Dotted names of all that a file imports, anywhere in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def stages() -> dict[str, Any]:
    return dict(YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"])


def test_a_stage_its_flow_and_its_package_have_one_name() -> None:
    assert tuple(stages()) == ("choose", *STAGES)
    for name, stage in stages().items():
        assert stage["cmd"] == f"python -m flows.{name}"
        assert stage["desc"]
        assert (ROOT / "flows" / f"{name}.py").is_file()
        assert name == "choose" or (ROOT / "pipeline" / name / "__init__.py").is_file()
        assert name == "choose" or (ROOT / "pipeline" / name / "stage.py").is_file()


def test_no_parameter_is_put_into_a_command() -> None:
    """DVC does not quote what it puts there: a value could be a command [treeverse/dvc #5418]."""
    for name, stage in stages().items():
        assert "${" not in str(stage["cmd"]), name


def test_data_walks_down_and_a_stage_names_what_it_depends_on() -> None:
    made: set[str] = {"data/raw", "params"}
    for name, stage in stages().items():
        outputs = [
            next(iter(item)) if isinstance(item, dict) else item
            for item in stage.get("outs", []) + stage.get("metrics", [])
        ]
        for needed in stage.get("deps", []):
            written = (ROOT / needed).exists() and needed.startswith(("params", "pipeline/", "plugins"))
            assert needed in made or written, f"{name}: {needed}"
        made |= set(outputs)


def test_bytecode_is_no_dependency() -> None:
    assert "__pycache__" in (ROOT / ".dvcignore").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("library", EDGES)
def test_tools_stay_at_the_edge(library: str) -> None:
    inside = EDGES[library]
    strays = [
        f"{place(path)}: {name}"
        for path in SOURCES
        for name in imported(path)
        if f"{name}.".startswith(f"{library}.") and not place(path).startswith(inside)
    ]
    assert not strays


def test_the_edges_are_used() -> None:
    """So that the guard above can't pass by looking for the wrong name."""
    names = {name.split(".")[0] for path in SOURCES for name in imported(path)}
    assert {library.split(".")[0] for library in EDGES} - {"torchvision"} <= names


@pytest.mark.parametrize(("below", "above"), [("pipeline", "flows"), ("pipeline", "convline"), ("flows", "convline")])
def test_the_command_uses_flows_they_use_the_pipeline_and_never_the_other_way(below: str, above: str) -> None:
    assert not [
        place(path)
        for path in SOURCES
        if place(path).startswith(f"{below}/")
        for name in imported(path)
        if f"{name}.".startswith(f"{above}.")
    ]


def package(module: str) -> str:
    """A module's package, `pipeline.tasks` or `pipeline.store`; the parts of architectures are one of their own."""
    parts = module.split(".")
    return ".".join(parts[: 3 if parts[1:3] == ["models", "parts"] else 2])


def runtime_imports(path: Path) -> Iterator[str]:
    """Modules of the pipeline that a file imports when it runs: not those that only its types name."""
    typed = {
        id(inner)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and id(node) not in typed and (node.module or "").startswith("pipeline"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Packages that import each other in a circle, none where imports point one way."""
    waiting = dict(imports)
    while free := [name for name, needed in waiting.items() if not needed & waiting.keys()]:
        for name in free:
            del waiting[name]
    return sorted(waiting)


def test_imports_between_packages_point_one_way() -> None:
    imports: dict[str, set[str]] = {}
    for path in (path for path in SOURCES if place(path).startswith("pipeline/")):
        own = package(place(path).removesuffix(".py").replace("/", "."))
        imports.setdefault(own, set()).update({package(name) for name in runtime_imports(path)} - {own})
    assert not circle(imports)


def test_a_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def test_imports_are_absolute_because_fingerprints_follow_those() -> None:
    assert not [f"{place(path)}: {name}" for path in SOURCES for name in imported(path) if name.startswith(".")]


def test_every_module_says_what_it_is() -> None:
    assert not [place(path) for path in SOURCES if not ast.get_docstring(tree(path))]


def test_files_and_functions_are_small() -> None:
    large = [place(path) for path in SOURCES if len(path.read_text(encoding="utf-8").splitlines()) > FILE_LINES]
    long = [
        f"{place(path)}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES
    ]
    assert not large + long


def calls_at_import(node: ast.AST) -> Iterator[ast.Call]:
    """Calls that run when the module is imported: not those in functions, nor under `if __name__`."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for item in [*node.decorator_list, *node.args.defaults, *(item for item in node.args.kw_defaults if item)]:
            yield from calls_at_import(item)
        return
    if isinstance(node, ast.Lambda) or (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)):
        return
    if isinstance(node, ast.Call):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from calls_at_import(child)


def makes_a_value(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call | ast.Constant):
        return True  # a method of a value: its own call is judged by itself
    if isinstance(call.func, ast.Attribute) and call.func.attr in {"items", "fromkeys"}:
        return True  # of a dictionary
    classes_of_the_house = name[:1].isupper() and "." not in name
    return name in VALUES or name.startswith(tuple(f"{maker}." for maker in MAKERS)) or classes_of_the_house


def test_locals_say_what_they_hold() -> None:
    """`found`, `place` and `known` could be anything: a name says its type (house rules in CONTRIBUTING.md)."""
    vague = {"found", "place", "places", "known"}
    strays = []
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                stored = {
                    item.id for item in ast.walk(node) if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store)
                }
                arguments = {item.arg for item in ast.walk(node.args) if isinstance(item, ast.arg)}
                strays += [f"{place(path)}:{node.lineno} {name}" for name in sorted((stored | arguments) & vague)]
    assert not strays


def test_nothing_happens_on_import() -> None:
    """A module's top level makes constants, functions and classes; it opens, starts, prints and sets nothing."""
    strays = []
    for path in SOURCES:
        if place(path) in SCRIPTS:
            continue
        for node in tree(path).body:
            if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant):
                strays.append(f"{place(path)}:{node.lineno} {ast.unparse(node)}")
            if isinstance(node, ast.For | ast.While | ast.With | ast.Delete | ast.AugAssign | ast.Try):
                strays.append(f"{place(path)}:{node.lineno} {type(node).__name__}")
            strays += [
                f"{place(path)}:{call.lineno} {ast.unparse(call)[:80]}"
                for call in calls_at_import(node)
                if not makes_a_value(call)
            ]
    assert not strays


def called(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Dotted names of all that a file calls, with the calls."""
    yield from ((ast.unparse(node.func), node) for node in ast.walk(tree(path)) if isinstance(node, ast.Call))


def test_messages_are_logged_and_only_results_are_printed() -> None:
    """Both by the one function that escapes text: `terminal.output`."""
    prints = {"print", "sys.stdout.write", "sys.stderr.write"}
    strays = [
        f"{place(path)}:{call.lineno}: log it"
        for path in SOURCES
        for name, call in called(path)
        if (name in prints and place(path) != "pipeline/terminal.py")
        or (name in {"output", "terminal.output"} and place(path) not in PRINTING)
    ]
    assert not strays


def test_every_logger_has_the_name_of_its_module() -> None:
    """`__name__` is `__main__` in a module that is run; then its messages would reach no handler of ours."""
    for path in SOURCES:
        dotted = place(path).removesuffix(".py").replace("/", ".")
        is_run = '__name__ == "__main__"' in path.read_text(encoding="utf-8")
        loggers = [
            ast.unparse(call.args[0]) for name, call in called(path) if name == "logging.getLogger" and call.args
        ]
        for logger in loggers:
            if logger == "__name__" or logger.strip("'").startswith(("convline.", "flows.", "pipeline.")):
                assert logger == (repr(dotted) if is_run else "__name__"), path


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("print('hello')", 1),
        ("X = open('file').read()", 1),
        ("def f(x=start()): ...", 1),
        ("class A:\n    b = connect()", 1),
        ("X = frozenset(load(n) for n in names())", 2),
        (
            "def f():\n    print()\nif __name__ == '__main__':\n    f()\nX = frozenset({1})\nY = Path('a').name",
            0,
        ),
    ],
)
def test_the_guard_sees_what_happens_on_import(text: str, count: int) -> None:
    found = [call for node in ast.parse(text).body for call in calls_at_import(node) if not makes_a_value(call)]
    assert len(found) == count


@pytest.mark.parametrize(("name", "least"), [("requirements.lock", 50), ("requirements-docs.lock", 20)])
def test_a_lock_holds_no_address_and_every_hash(name: str, least: int) -> None:
    lock = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in lock
    pinned = re.findall(
        r"^([A-Za-z0-9_.-]+)==\S+(?: ; [^\\\n]+)? \\\n    --hash=sha256:[0-9a-f]{64}", lock, re.MULTILINE
    )
    assert len(pinned) == len(re.findall(r"^[A-Za-z0-9]", lock, re.MULTILINE)) > least


def test_telemetry_is_off_wherever_a_stage_starts() -> None:
    from flows.child_commands import NO_TELEMETRY

    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name, value in NO_TELEMETRY.items():
        assert f"export {name} := {value}\n" in makefile
