"""What `make repro-all` and `make studies` write into params.yaml: the roster, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from flows import repro
from pipeline import params
from pipeline.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of params.yaml, in the current folder."""
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return path


def test_studies_are_added_one_by_one_or_all(shipped: Path) -> None:
    before = shipped.read_text(encoding="utf-8")
    for study, roster in (
        ("residual", ["core", "residual"]),
        ("residual", ["core", "residual"]),
        ("studies", ["core", "residual", "studies"]),
        ("identity", ["core", "residual", "studies"]),
    ):
        repro.write_roster(repro.add_study(params.read(), study))
        found = params.read()
        assert found.roster == roster
    assert set(found.selected_studies()) == set(found.studies)
    assert "\nroster: [core, residual, studies]\n" in shipped.read_text(encoding="utf-8")
    repro.write_roster("all")
    assert params.read().roster == "all"
    repro.write_roster("core")
    assert shipped.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("written", ["roster: core\n", "roster:\n  - linear\n  - lenet5\n", "roster:\n- linear\n", ""])
def test_however_the_roster_was_written_it_is_replaced(shipped: Path, written: str) -> None:
    text = shipped.read_text(encoding="utf-8")
    shipped.write_text(text.replace("roster: core\n", written), encoding="utf-8")
    repro.write_roster(["core", "identity"])
    assert params.read().roster == ["core", "identity"]
    assert shipped.read_text(encoding="utf-8").count("\nroster:") + text.startswith("roster:") <= 1
    assert set(params.read().jobs) == set(params.read(ROOT / "params.yaml").jobs)


def test_a_study_that_is_not_there_is_named(shipped: Path) -> None:
    with pytest.raises(UserError, match=r"--study: no study is named 'residul'; did you mean 'residual'"):
        repro.add_study(params.read(), "residul")


@pytest.mark.parametrize(
    ("roster", "expected"),
    [("all", ["all", "identity"]), (["linear"], ["linear", "identity"]), ("studies", "studies")],
)
def test_what_the_roster_had_stays(shipped: Path, roster: Any, expected: Any) -> None:
    found = params.read().model_copy(update={"roster": roster})
    assert repro.add_study(found, "identity") == expected
