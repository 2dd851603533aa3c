"""The command starts at once, from any folder of the project, and tells errors without a traceback."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from convline import adding, frame, version
from pipeline import logs
from pipeline.errors import UserError

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "prefect", "pyarrow", "mlflow", "ray", "numpy", "pydantic", "ruamel", "PIL", "dvc", "rich")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, and the user in one of its folders."""
    (tmp_path / "inner").mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "inner")
    return tmp_path


def convline(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "convline", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("words", [[], ["--help"], *([name, "--help"] for name in frame.names())], ids=" ".join)
def test_help_imports_no_library_and_no_other_command(words: list[str]) -> None:
    """Imports are seconds; the start of Python and Typer is a tenth of one."""
    code = (
        "import sys; from convline.__main__ import main\n"
        f"sys.argv = ['convline', *{words!r}]\n"
        "assert main() == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
        "print([name.split('.')[-1] for name in sys.modules if name.startswith('convline.commands.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    own = [word for word in words if word != "--help"]
    assert done.stdout.startswith("Usage: convline")
    assert done.stdout.endswith(f"[]\n{own}\n")


@pytest.mark.parametrize("name", frame.names())
def test_every_command_keeps_the_contract(name: str) -> None:
    module = importlib.import_module(f"convline.commands.{name}")
    summary, _, more = frame.documentation(name).partition("\n")
    assert module.__doc__ is not None
    assert module.__doc__.startswith(summary)
    assert summary.endswith(".")
    assert not more or more.startswith("\n")
    assert module.command.__annotations__["return"] is int
    assert len(summary) <= 72  # fish shows one line


def test_the_project_is_found_from_within(tmp_path: Path) -> None:
    inner = tmp_path / "data/raw"
    inner.mkdir(parents=True)
    with pytest.raises(UserError, match=r"data/raw: .* params\.yaml and dvc\.yaml"):
        frame.project(inner)
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    assert frame.project(inner) == frame.project(tmp_path) == tmp_path


def test_outside_a_project_there_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    done = convline("doctor", cwd=tmp_path)
    (line,) = done.stderr.strip().splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert line.startswith(f"{tmp_path}: ")
    assert "params.yaml" in line


def test_paths_count_from_where_the_user_is(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    def note(*call: Any) -> dict[str, Any]:
        calls.extend(call)
        return {"diff": "+ mine"}

    monkeypatch.setattr(adding, "add", note)
    words = ["--option", "a: 1", "--option", "b: 2", "--on-bad", "skip", "--dry-run", "--format=voc", "--name=n"]
    assert frame.parse(["add", "mine", *words])() == 0
    assert calls == [root / "inner/mine", root, adding.Wishes("n", "voc", ["a: 1", "b: 2"], "skip", True, measure=True)]
    assert Path.cwd() == root
    assert capsys.readouterr().out.startswith("+ mine\n")


def test_a_path_that_is_no_text_arrives(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, paths = os.fsdecode(b"stra\xdfe"), list[Path]()
    monkeypatch.setattr(adding, "add", lambda path, *_: paths.append(path))
    frame.parse(["add", name])()
    assert paths == [root / "inner" / name]


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (["ad"], ["no command", "'ad'", "did you mean 'add'", "predict"]),
        (["quux"], ["no command", "'quux'", "There are: add,"]),
        (["--quite"], ["'--quite'", "did you mean '--quiet'", "convline --help"]),
        (["add", "x", "--nmae", "y"], ["convline add", "'--nmae'", "did you mean '--name'", "convline add --help"]),
        (["add"], ["PATH", "convline add --help"]),
        (["add", "a", "b"], ["(b)"]),
        (["add", "a", "--name"], ["--name", "convline add --help"]),
        (["add", "a", "--on-bad", "ignore"], ["--on-bad", "'ignore'", "error|skip"]),
        (["predict", "linear", "--number", "few"], ["--number", "'few'", "int"]),
    ],
    ids=lambda item: " ".join(item),
)
def test_what_can_not_be_understood_is_refused_with_a_remedy(words: list[str], facts: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        frame.parse(words)
    assert [fact for fact in facts if fact not in str(refused.value)] == []
    assert "pydantic" not in str(refused.value)


def test_a_mistake_is_exit_code_2_and_leaves_standard_output_empty() -> None:
    done = convline("doctr")
    assert (done.returncode, done.stdout) == (2, "")
    assert "doctor" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["--quiet", "doctor"], ["doctor", "--quiet"], ["doctor"]])
def test_quiet_stands_before_or_behind_the_command(
    words: list[str], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    frame.parse(words)
    assert os.environ.get(logs.QUIET, "") == ("1" if "--quiet" in words else "")


def test_json_leaves_standard_output_to_the_result(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def add(*_: Any) -> dict[str, Any]:
        adding.log.info("reading")
        adding.log.warning("odd")
        return {"name": "ü\x1b"}

    monkeypatch.setattr(adding, "add", add)
    assert frame.parse(["add", "mine", "--json"])() == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"name": "ü\x1b", "dry_run": False}
    assert "\x1b" not in out
    assert err == "reading\nodd\n"
    assert frame.parse(["add", "mine"])() == 0
    assert tuple(capsys.readouterr()) == ("reading\n", "odd\n")


def test_the_version_has_the_commit_of_a_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = convline("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{version.text()}\n", "")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    monkeypatch.setattr(version, "CODE", tmp_path)
    number, _, commit = version.text().removesuffix(")").partition(" (commit ")
    assert head.startswith(commit)
    assert commit
    monkeypatch.setattr(version, "CODE", tmp_path / "nowhere")
    assert version.text() == number


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_options_and_values_are_completed(shell: str) -> None:
    assert "doctor" in completed(shell, "convline d")
    assert "predict" not in completed(shell, "convline d")
    assert "--on-bad" in completed(shell, "convline add --")
    assert "image_folder" in completed(shell, "convline add x --format i")


def completed(shell: str, line: str) -> str:
    done = convline(
        _CONVLINE_COMPLETE=f"complete_{shell}",
        COMP_WORDS=line,
        COMP_CWORD=str(len(line.split()) - 1),
        _TYPER_COMPLETE_ARGS=line,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("words", [[], *([name] for name in frame.names())], ids=" ".join)
def test_help_fits_a_narrow_terminal_and_one_that_knows_ascii_only(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """ASCII, because Typer prints it past our escapes."""
    monkeypatch.setenv("COLUMNS", "40")
    assert frame.parse([*words, "--help"])() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 40 or not line.isascii()] == []


def test_another_projects_jobs_are_not_run(root: Path) -> None:
    """The environment of one clone is active, and the user in another, whose settings must not seem to be run."""
    done = convline("run", "linear", cwd=root)
    assert done.returncode == 2
    assert f"{root}: this convline is of {ROOT}" in done.stderr
    assert f"source {root}/.venv/bin/activate" in done.stderr
