"""A plug-in that breaks its contract is told so by file, member and remedy, before anything is imported."""

from pathlib import Path
from typing import get_args

import pytest

from pipeline import params, plugins
from pipeline.contracts import check
from pipeline.contracts.derived import Derived
from pipeline.errors import UserError
from pipeline.sample import TABLE
from tests.helpers import own_plugins

#: a file of each kind that keeps its contract, of members that can be read without running it
RIGHT = {
    "models": """
import a_library_that_is_not_installed

TASKS = ("classification",)
HEADS = 8  # of attention: the file's own

def build(spec, *, width=8):
    return a_library_that_is_not_installed.Network(width)
""",
    "tasks": """
from pipeline.tasks import classification

NEEDS = ("label",)
CLASSES = "classes"
PRIMARY = "top1"
HIGHER_IS_BETTER = True
OUTPUT = {"label": "string"}
learner = classification.learner
collate = classification.collate
rows = classification.rows
scorer = classification.scorer
figures = classification.figures
draw = classification.draw
answer = classification.answer
prediction = classification.prediction
""",
    "prepare.formats": "def read(path, *, table='a.csv'): ...\n",
    "augment.transforms": "def build(*, limit=0.1, p=0.5): ...\n",
    "augment.derived": "FIELD = 'weight'\nSPLITS = ('train',)\ndef build(*, sigma=1.0): ...\n",
    "report.sections": "TITLE = 'Mine'\nORDER = 45\ndef render(results): ...\n",
    "recipes": "def jobs(dataset, statistics, wishes): ...\n",
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_plugins.use(tmp_path, monkeypatch)


def faults(own: Path, kind: str, text: str) -> list[str]:
    own_plugins.write(own, kind, "mine", text)
    return list(check.faults(kind, "mine"))


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_a_right_plug_in_has_no_faults(own: Path, kind: str) -> None:
    assert faults(own, kind, RIGHT[kind]) == []


@pytest.mark.parametrize(
    ("kind", "before", "after", "facts"),
    [
        ("models", "TASKS = (", "TASK = (", ["TASKS is missing", "TASK is similar"]),
        ("models", '("classification",)', '["classification"]', ["TASKS", "tuple", "['classification']"]),
        ("models", '("classification",)', '("clasification",)', ["TASKS", "clasification", "'classification'"]),
        ("models", '("classification",)', "()", ["TASKS", "at least 1"]),
        ("models", '("classification",)', "tuple(names())", ["TASKS", "literal"]),
        ("models", "def build(spec, ", "def build(", ["build", "()", "(spec)"]),
        (
            "models",
            "def build(spec, *, width",
            "def build(spec, width",
            ["build", "(spec, width)", "build(spec, *, …)"],
        ),
        ("models", "def build", "class Learner: ...\ndef build", ["Learner", "learner"]),
        ("models", "HEADS = 8", "Head = 'fc'", ["Head", "HEAD"]),
        ("models", "HEADS = 8", "HEAD = 8", ["HEAD", "string", "8"]),
        ("models", "HEADS = 8", "PAPER = {'input': [3, 32, 32], 'classes': 2}", ["PAPER", "options", "required"]),
        ("models", "HEADS = 8", "LEVEL = ('a', 'b')", ["LEVEL ", "LEVELS"]),
        ("tasks", "rows = classification.rows\n", "", ["rows is missing"]),
        ("tasks", "OUTPUT = {'label': 'string'}".replace("'", '"'), "OUTPUT = {'label': 'text'}", ["OUTPUT", "text"]),
        ("tasks", "= True", "= 1", ["HIGHER_IS_BETTER", "bool"]),
        ("tasks", "NEEDS", "def remarks(scores): ...\nNEEDS", ["remarks", "remark"]),
        ("prepare.formats", "(path, ", "(folder, ", ["read", "(folder)", "(path)"]),
        ("prepare.formats", "def", "def recognize(tree): ...\ndef", ["recognize", "recognise"]),
        ("augment.transforms", ", p=0.5", "", ["build", "option p"]),
        ("augment.transforms", "def", "OTHER = 1\ndef", ["OTHER ", "OTHERS"]),
        ("augment.derived", "'weight'", "'weights'", ["FIELD", "weights"]),
        ("augment.derived", "('train',)", "('trian',)", ["SPLITS", "trian"]),
        ("report.sections", "= 45", "= '45'", ["ORDER", "integer", "'45'"]),
        ("report.sections", "(results)", "(results, *, rows=3)", ["render", "options", "render(results)"]),
        ("recipes", "def jobs", "def job", ["jobs is missing", "job is similar"]),
    ],
)
def test_a_broken_member_is_named(own: Path, kind: str, before: str, after: str, facts: list[str]) -> None:
    assert before in RIGHT[kind]
    (text,) = faults(own, kind, RIGHT[kind].replace(before, after))
    folder = kind.rpartition(".")[2]
    assert text.startswith(f"plugins/{folder}/mine.py: ")
    assert not [fact for fact in facts if fact not in text], text


def test_a_file_that_is_no_python_is_named_with_its_line(own: Path) -> None:
    (text,) = faults(own, "models", "TASKS = (\n\n\ndef build(spec: ...\n")
    assert text.startswith("plugins/models/mine.py:")
    assert "not valid Python" in text


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_every_plug_in_of_the_listing_keeps_its_contract(kind: str) -> None:
    check.check((kind, name) for name in plugins.names(kind))


def test_a_derived_field_may_fill_what_prepare_does_not_store() -> None:
    assert set(get_args(check.constants(Derived)["FIELD"])) == {name for name, row in TABLE.items() if not row.stored}


def test_all_faults_are_one_error(own: Path) -> None:
    own_plugins.write(own, "models", "mine", "")
    with pytest.raises(UserError) as caught:
        check.check([("models", "mine"), ("models", "lenet5"), ("models", "mine")])
    assert [line.split(" is missing")[0] for line in str(caught.value).splitlines()] == [
        "plugins/models/mine.py: TASKS",
        "plugins/models/mine.py: build",
    ]


PARAMS = """
datasets: {digits: {format: digits}}
jobs: {a: {task: classification, architecture: mine, dataset: digits}}
"""


def read(root: Path) -> params.Params:
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
    return params.read(root / "params.yaml", empty=True)


def test_it_is_found_where_params_yaml_is_read(own: Path, tmp_path: Path) -> None:
    own_plugins.write(own, "models", "mine", RIGHT["models"].replace("def build(spec, ", "def build("))
    with pytest.raises(UserError, match=r"jobs\.a\.architecture: plugins/models/mine\.py: build"):
        read(tmp_path)
    own_plugins.write(own, "sections", "broken", RIGHT["report.sections"].replace("ORDER", "ODER"))
    with pytest.raises(UserError, match=r"plugins/sections/broken\.py: ORDER is missing"):
        read(tmp_path)


def test_a_right_own_architecture_is_accepted_and_its_options_are_checked(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_plugins.write(own, "models", "mine", RIGHT["models"])
    assert read(tmp_path).jobs["a"].architecture == "mine"
    monkeypatch.setitem(globals(), "PARAMS", PARAMS.replace("mine,", "mine, options: {widht: 4},"))
    with pytest.raises(UserError, match=r"jobs\.a\.options: no option is named 'widht'; did you mean 'width'"):
        read(tmp_path)
