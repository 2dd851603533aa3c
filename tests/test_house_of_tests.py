"""The rules of the tests' house: what tests share lives in tests/helpers, and they test what is public."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PACKAGES = {"benchmarks", "convline", "flows", "pipeline"}
#: what a test may import of the tests: helpers, data, and scripts that are run as they are, too
SHARED = ("tests.helpers.", "tests.data.", "tests.cases.", "tests.kills.", "tests.same_weights.", "tests.train.golden.")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Module and name of each `from module import name`, and each `import module` with no name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names(tree: ast.AST, own: str = "") -> set[str]:
    """Names that begin with `_` of our packages: imported, or an attribute of what is imported; not those of `own`."""
    ours = [(module, name) for module, name in imports(tree) if module.split(".")[0] in PACKAGES]
    ours = [(module, name) for module, name in ours if not own or not f"{module}.".startswith(f"{own}.")]
    bound = {name or module.split(".")[0] for module, name in ours}
    names = {part for module, name in ours for part in (*module.split("."), name) if is_private(part)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and isinstance(node.value, ast.Name):
            names |= {f"{node.value.id}.{node.attr}"} if node.value.id in bound else set()
    return names


def mirrored(path: Path) -> str:
    """The package that a test mirrors: `flows` of tests/flows, `pipeline.train` of tests/train."""
    folder = relative(path).split("/")[1]
    if not (ROOT / "tests" / folder).is_dir():
        return ""
    return folder if folder in PACKAGES else f"pipeline.{folder}"


def test_no_test_imports_another() -> None:
    strays = [
        f"{relative(path)}: {module}.{name}"
        for path in TESTS
        for module, name in imports(ast.parse(path.read_text(encoding="utf-8")))
        if module.split(".")[0] == "tests" and not f"{module}.{name}.".startswith(SHARED)
    ]
    assert not strays


def test_no_test_uses_what_is_private_to_a_package() -> None:
    strays = {
        relative(path): names
        for path in TESTS
        if (names := private_names(ast.parse(path.read_text(encoding="utf-8")), mirrored(path)))
    }
    assert not strays


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("from flows import _run", {"_run"}),
        ("from flows._run import entries", {"_run"}),
        ("from pipeline import store\nstore._lock()", {"store._lock"}),
        ("import os\nos._exit(1)", set()),
        ("from convline.__main__ import main\nmain.__name__", set()),
    ],
)
def test_the_guard_sees_what_is_private(text: str, names: set[str]) -> None:
    assert private_names(ast.parse(text)) == names


def test_a_test_may_use_what_is_private_to_the_package_that_it_mirrors() -> None:
    text = "from flows import _run\nfrom pipeline.train import loop\nloop._step()"
    assert private_names(ast.parse(text), mirrored(ROOT / "tests/flows/test_run.py")) == {"loop._step"}
    assert private_names(ast.parse(text), mirrored(ROOT / "tests/train/test_loop.py")) == {"_run"}
    assert mirrored(ROOT / "tests/test_sample.py") == ""
