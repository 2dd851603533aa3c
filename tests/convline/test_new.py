"""`convline new` writes a plug-in of each kind that works at once."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.parts.clone import copy_tree
from convline.commands import new
from pipeline import plugins
from pipeline.contracts import check
from pipeline.errors import UserError
from tests.helpers import own_plugins

#: kind → the files of its contract tests
CONTRACTS = {
    "architecture": ["tests/models/test_contract.py"],
    "task": ["tests/tasks/test_contract.py", "tests/report/test_glossary.py"],
    "format": ["tests/prepare/test_contract.py"],
    "transform": ["tests/augment/test_transforms.py"],
    "derived": ["tests/augment/test_derived.py"],
    "section": ["tests/report/test_stage.py"],
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_plugins.use(tmp_path, monkeypatch)


@pytest.mark.parametrize("kind", new.KINDS)
def test_a_new_file_keeps_its_contract_and_is_not_overwritten(
    kind: str, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listing, _ = new.KINDS[kind]
    assert new.command(kind, "mine", json=True) == 0
    path = plugins.source(listing, "mine")
    assert path.is_relative_to(own)
    assert str(path.relative_to(own.parent)) in capsys.readouterr().out
    assert list(check.faults(listing, "mine")) == []
    assert plugins.load(listing, "mine").__doc__
    path.write_text("# edited\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"{path.relative_to(own.parent)} has this name"):
        new.command(kind, "mine")
    assert path.read_text(encoding="utf-8") == "# edited\n"


@pytest.mark.parametrize("name", ["two words", "a-b", "1st", "_private", "class", "", "../up"])
def test_a_name_that_is_none_is_refused_in_one_sentence(name: str, own: Path) -> None:
    with pytest.raises(UserError) as caught:
        new.command("architecture", name)
    assert "\n" not in str(caught.value)
    assert not list(own.rglob("*.py"))


def test_a_taken_name_and_an_unknown_kind_are_refused(own: Path) -> None:
    with pytest.raises(UserError, match=r"pipeline/models/lenet5\.py"):
        new.command("architecture", "lenet5")
    with pytest.raises(UserError, match=r"'transfrom'; did you mean 'transform'"):
        new.command("transfrom", "mine")


def test_two_sections_have_two_positions(own: Path) -> None:
    new.command("section", "one")
    new.command("section", "two")
    orders = [plugins.constant("report.sections", name, "ORDER") for name in plugins.names("report.sections")]
    assert len(orders) == len(set(orders))


@pytest.mark.slow
@pytest.mark.parametrize("kind", new.KINDS)
def test_a_new_file_passes_the_contract_tests(kind: str, tmp_path: Path) -> None:
    """In a copy of this tree, as a user would run them."""
    copy_tree(tmp_path)
    listing, _ = new.KINDS[kind]
    path = tmp_path / "plugins" / listing.rpartition(".")[2] / "freshly_made.py"
    path.parent.mkdir(parents=True)
    path.write_text(new.skeleton(kind, "freshly_made"), encoding="utf-8")
    run = [sys.executable, "-m", "pytest", "-q", *CONTRACTS[kind], "tests/contracts", "-k", "freshly_made or listing"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    (count,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(count) > len(plugins.KINDS)
