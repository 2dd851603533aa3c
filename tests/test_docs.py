"""The front door is true: its commands, settings, links and examples are those of the code."""

import contextlib
import functools
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from benchmarks.parts.clone import copy_tree
from convline import frame
from docs import generate
from pipeline import params, params_files
from pipeline.errors import UserError

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")], key=lambda path: path.name)
EXAMPLE = ROOT / "examples/own_images.sh"
WORDS, PICTURE_BYTES = 600, 200_000
#: heading of docs/params.md → the model whose settings it lists
SECTIONS: dict[str, type[BaseModel]] = {
    "Sections": params.Params,
    "datasets": params.Dataset,
    "split": params.Split,
    "augmentation": params.Policy,
    "staged": params.Staged,
    "jobs": params.Job,
    "pretrained": params.Pretrained,
    "studies": params.Study,
    "train": params.Train,
    "evaluate": params.Evaluate,
}
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@functools.cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The lines that a person would type, and those of the shell example."""
    if page == EXAMPLE:
        return text(page).splitlines()
    return [
        line.removeprefix("$ ") for block in blocks(page, "console") for line in block.splitlines() if line[0] == "$"
    ]


def test_the_readme_is_short_and_has_both_commands_and_a_small_picture() -> None:
    readme = text(ROOT / "README.md")
    assert len(readme.split()) <= WORDS
    assert {"make repro", "make test"} <= set(commands(ROOT / "README.md"))
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme)
    assert (ROOT / picture).stat().st_size < PICTURE_BYTES
    assert all(name in readme for name in ("multi-label", "rotated boxes", "regression", "video", "Apache-2.0", "WSL"))


def test_generated_parts_are_up_to_date() -> None:
    stale = [page.name for page in PAGES if generate.filled(text(page)) != text(page)]
    assert not stale, "run python -m docs.generate"


def test_a_stale_part_is_seen() -> None:
    page = text(ROOT / "docs/architectures.md")
    assert page.count("\n## lenet5\n") == 1
    assert generate.filled(page.replace("\n## lenet5\n", "\n## lenet6\n")) == page


def default(model: type[BaseModel], name: str) -> str:
    """A setting's default as params.md writes it."""
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    if isinstance(field.default, BaseModel):
        return "see below"
    value = field.default
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_setting_is_listed_with_its_default(heading: str) -> None:
    _, _, below = text(ROOT / "docs/params.md").partition(f"# {heading}\n")
    table = re.split(r"^#", below, maxsplit=1, flags=re.MULTILINE)[0]
    listed = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.MULTILINE))
    model = SECTIONS[heading]
    settings = (name for name, field in model.model_fields.items() if not field.exclude)
    assert listed == {name: default(model, name) for name in settings}


@pages
def test_every_target_of_make_and_every_module_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    asked = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", text(page)))
    assert asked <= targets
    for name in re.findall(r"python -m ([\w.]+)", text(page)):
        path = ROOT.joinpath(*name.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), name


@pytest.mark.parametrize("page", [*PAGES, EXAMPLE], ids=lambda page: page.name)
def test_every_convline_command_is_understood(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # a page may show how completion is installed
    for line in commands(page):
        if line.startswith("convline "):
            with contextlib.suppress(SystemExit):
                frame.parse(shlex.split(line, comments=True)[1:])


def test_an_unknown_option_is_seen() -> None:
    with pytest.raises(UserError, match="--nothing"):
        frame.parse(["add", "folder", "--nothing"])


@pages
def test_shown_settings_are_valid(page: Path, tmp_path: Path) -> None:
    """Together with the shipped settings and a data set `leaves`; reading params/ takes seconds: for rosters only."""
    shipped = params_files.load(ROOT / "params.yaml")
    shipped["datasets"] = {**shipped["datasets"], "leaves": {"format": "image_folder"}}
    for block in blocks(page, "yaml"):
        shown = YAML(typ="safe", pure=True).load(block)
        assert set(shown) <= set(params.Params.model_fields), block
        value = {name: section | shown.pop(name, {}) for name, section in shipped.items() if isinstance(section, dict)}
        value = {**value, "roster": "all", **shown}
        with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(value, file)
        params.read(tmp_path / "params.yaml", folder=ROOT / "params" if "roster" in shown else tmp_path / "params")


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    """mkdocs checks the pages of docs/; the files at the root are checked here alone."""
    for target in re.findall(r"(?<!`)\]\(([^)\s]+)\)", text(page)):
        if "://" not in target and not target.startswith("#"):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_the_citation_is_of_this_version() -> None:
    citation = YAML(typ="safe", pure=True).load(ROOT / "CITATION.cff")
    project = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])


def test_the_shell_example_is_a_script() -> None:
    subprocess.run(["bash", "-n", str(EXAMPLE)], check=True)


@pytest.mark.slow
def test_the_shell_example_trains_and_answers(tmp_path: Path) -> None:
    """In a copy of this tree, with its own environment in the place of a new one."""
    copy_tree(tmp_path)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    source = text(EXAMPLE).replace("make setup\n", "")
    (tmp_path / "examples/own_images.sh").write_text(source, encoding="utf-8")
    made = "git init -q && git add -A && git -c user.name=a -c user.email=a@b commit -qm copy"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}  # that of the environment's own code comes later
    run = ["bash", "-c", f"{made} && bash examples/own_images.sh"]
    subprocess.run(run, cwd=tmp_path, env=environment, check=True)
    lines = (tmp_path / ".work/answers/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 120
