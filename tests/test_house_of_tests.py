"""The rules of the tests' house: what tests share lives in tests/helpers, and they test what is public."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PACKAGES = {"benchmarks", "convline", "flows", "pipeline"}
#: what a test may import of the tests: helpers, data, and scripts that are run as they are, too
SHARED = ("tests.helpers.", "tests.data.", "tests.kills.", "tests.same_weights.", "tests.train.golden.")
#: folders and files that still use names which are private to another package; to be emptied, never to be added to
STILL_PRIVATE = (
    "tests/augment/test_region_proposals.py",
    "tests/benchmarks/",
    "tests/convline/",
    "tests/evaluate/",
    "tests/flows/",
    "tests/helpers/served.py",
    "tests/models/test_rcnn.py",
    "tests/plots/",
    "tests/register/test_trust.py",
    "tests/report/",
    "tests/test_house.py",
    "tests/train/",
)


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


def private_names(tree: ast.AST) -> set[str]:
    """Names that begin with `_` of our packages: imported, or an attribute of what is imported."""
    ours = [(module, name) for module, name in imports(tree) if module.split(".")[0] in PACKAGES]
    bound = {name or module.split(".")[0] for module, name in ours}
    names = {part for module, name in ours for part in (*module.split("."), name) if is_private(part)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and isinstance(node.value, ast.Name):
            names |= {f"{node.value.id}.{node.attr}"} if node.value.id in bound else set()
    return names


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
        if not relative(path).startswith(STILL_PRIVATE)
        and (names := private_names(ast.parse(path.read_text(encoding="utf-8"))))
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
