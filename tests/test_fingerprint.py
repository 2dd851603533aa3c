"""What decides a result changes its fingerprint, and nothing else does."""

import ast
from pathlib import Path

import pytest

from pipeline import fingerprint as module
from pipeline.fingerprint import code, compute_fingerprint

MAIN = '''"""Doc."""
import os
from pipeline.inner import helper
from pipeline import errors
from pipeline.inner.deep import VALUE

class Net:
    """Doc of a class."""
    def forward(self, x):
        """Doc of a method."""
        return helper.twice(x) + VALUE

def lazy():
    import pipeline.late
    return 1
'''
FILES = {
    "__init__.py": "",
    "main.py": MAIN,
    "errors.py": "A = 1\n",
    "late.py": "X = 1\n",
    "unused.py": "X = 1\n",
    "inner/__init__.py": "",
    "inner/helper.py": "from pipeline import main\ndef twice(x):\n    return 2 * x\n",
    "inner/deep.py": "VALUE = 3\n",
}


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package named pipeline, in which main imports four others."""
    monkeypatch.setattr(module, "ROOT", tmp_path)
    module.read_module.cache_clear()
    for name, text in FILES.items():
        path = tmp_path / "pipeline" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "pipeline"


def after(path: Path, old: str, new: str) -> dict[str, str]:
    """The code's digests after an edit."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    module.read_module.cache_clear()
    return code(["pipeline.main"])


def test_imports_are_followed_inside_pipeline_once(pipeline: Path) -> None:
    assert set(code(["pipeline.main"])) == {
        "pipeline.main",
        "pipeline.inner.helper",
        "pipeline.inner.deep",
        "pipeline.late",
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Doc."""', "# a comment\n"),
        ('"""Doc of a class."""', '"""Another.\n\n    Longer.\n    """'),
        ('        """Doc of a method."""\n', ""),
        (
            "return helper.twice(x) + VALUE",
            "return (\n            helper.twice( x )  # doubled\n            + VALUE\n        )",
        ),
        ("return 1", "return 0x1"),
        ("import os\n", "\n\nimport os\n\n"),
    ],
)
def test_comments_docstrings_and_format_change_nothing(pipeline: Path, old: str, new: str) -> None:
    before = code(["pipeline.main"])
    assert after(pipeline / "main.py", old, new) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("main.py", "return 1", "return 2"),
        ("main.py", "+ VALUE", "- VALUE"),
        ("main.py", "import os", "import sys"),
        ("main.py", '"""Doc of a method."""', 'x = x or """a string that is no docstring"""'),
        ("inner/helper.py", "2 * x", "3 * x"),
        ("inner/deep.py", "3", "4"),
        ("late.py", "1", "2"),
    ],
)
def test_what_runs_changes_it(pipeline: Path, file: str, old: str, new: str) -> None:
    before = code(["pipeline.main"])
    found = after(pipeline / file, old, new)
    changed = "pipeline." + file.removesuffix(".py").replace("/", ".")
    assert {name for name in before if found[name] != before[name]} == {changed}


@pytest.mark.parametrize("file", ["errors.py", "unused.py"])
def test_what_decides_nothing_does_not_count(pipeline: Path, file: str) -> None:
    before = code(["pipeline.main"])
    assert after(pipeline / file, "1", "2") == before


def test_order_and_repetition_of_modules_do_not_count(pipeline: Path) -> None:
    assert code(["pipeline.late", "pipeline.main"]) == code(["pipeline.main", "pipeline.main"])


def test_every_part_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = ["pipeline.models.linear"]
    first = compute_fingerprint(modules, job={"lr": 0.1}, dataset="d")
    assert first == compute_fingerprint(modules, dataset="d", job={"lr": 0.1})
    others = [
        compute_fingerprint(modules, job={"lr": 0.2}, dataset="d"),
        compute_fingerprint(modules, job={"lr": 0.1}, dataset="e"),
        compute_fingerprint(["pipeline.models.lenet5"], job={"lr": 0.1}, dataset="d"),
    ]
    monkeypatch.setattr(module, "version", lambda name: "9" if name == "torch" else "1")
    others.append(compute_fingerprint(modules, job={"lr": 0.1}, dataset="d"))
    assert len({first, *others}) == 5


def test_a_model_counts_with_its_loop_but_not_with_ray_or_mlflow() -> None:
    found = set(code(["pipeline.models.lenet5", "pipeline.tasks.classification", "pipeline.train.loop"]))
    assert found >= {
        "pipeline.augment.policy",
        "pipeline.images",
        "pipeline.models.lenet5",
        "pipeline.sample",
        "pipeline.seeds",
        "pipeline.learners.base",
        "pipeline.train.loader",
        "pipeline.train.optimizer",
    }
    assert not found & module.OUTSIDE
    assert "pipeline.models.linear" not in found


def test_modules_that_do_not_count_exist() -> None:
    root = Path(module.__file__).parents[1]
    for name in module.OUTSIDE:
        ast.parse(root.joinpath(*name.split(".")).with_suffix(".py").read_text(encoding="utf-8"))
