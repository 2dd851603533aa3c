"""What decides a job's result changes its fingerprint, and nothing else does: edits replayed on a copy of the code."""

import ast
import re
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from pipeline import fingerprint, params, plugins, roots
from pipeline.params import Job

ROOT = fingerprint.ROOT
SHIPPED = params.read(ROOT / "params.yaml")
LINEAR = Path(__file__).parent / "data/definitions_of_linear.txt"
Edits = Callable[..., None]


def decided(name: str) -> dict[str, Any]:
    """Code and libraries that decide a shipped job's training."""
    job = SHIPPED.jobs[name]
    return fingerprint.inputs(roots.training(job, SHIPPED.policy(job.policy).online))


@pytest.fixture(scope="module")
def before() -> dict[str, dict[str, Any]]:
    return {name: decided(name) for name in SHIPPED.jobs}


@pytest.fixture(scope="module")
def evaluated() -> dict[str, Any]:
    return fingerprint.inputs(roots.evaluation(SHIPPED.jobs["linear"]))


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edits:
    """`edit("train/loop.py", old, new)` changes a copy of the code, which fingerprints then read."""
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "ROOT", tmp_path)

    def change(file: str, old: str, new: str) -> None:
        path = tmp_path / "pipeline" / file
        text = path.read_text() if path.exists() else ""
        assert old in text
        path.write_text(text.replace(old, new, 1) if old else new)

    return change


def stale(before: dict[str, dict[str, Any]]) -> set[str]:
    return {name for name in SHIPPED.jobs if decided(name) != before[name]}


def jobs(chosen: Callable[[Job], bool]) -> set[str]:
    names = {name for name, job in SHIPPED.jobs.items() if chosen(job)}
    assert 0 < len(names) < len(SHIPPED.jobs)
    return names


def uses(job: Job, architecture: str) -> bool:
    """Whether a job's network is this one, or is built on it."""
    return architecture in (job.architecture, job.options.get("backbone", roots.backbone(job.architecture)))


def online(job: Job) -> set[str]:
    return {name for entry in SHIPPED.policy(job.policy).online for name in entry}


#: transforms that are a homography, or of albumentations
MOVING, OF_LIBRARY = (
    {path.stem for path in (ROOT / "pipeline/augment/transforms").glob("*.py") if word in path.read_text()}
    for word in ("return RandomHomography(", "albumentations")
)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("plots/figures.py", "font_size=11", "font_size=12"),
        ("learners/base.py", "A network with its loss", "The network and its loss"),
        ("train/step.py", "the loss is not finite at step", "not a finite loss at step"),
        ("train/loop.py", "steps[name] = steps.get(name, 0) + 1  #", "steps[name] = steps.get(name, 0) + 1  # so"),
        ("train/loop.py", "PROGRESS_EVERY_S = 1.0", "PROGRESS_EVERY_S: float = 1.0"),
        ("models/novel.py", "", '"""A network."""\n\ndef build(spec):\n    return None\n'),
        ("report/sections/leaderboard.py", "def ", "def renamed_"),
        ("tasks/classification.py", "def answer(", "def answers("),
        ("pretrained_weights.py", "progress=False", "progress=True"),
        ("tracking.py", "import", "import re\nimport"),
        ("store.py", "indent=1", "indent=2"),
    ],
)
def test_what_changes_no_result_makes_nothing_stale(
    file: str, old: str, new: str, edit: Edits, before: dict[str, dict[str, Any]]
) -> None:
    edit(file, old, new)
    assert stale(before) == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "chosen"),
    [
        ("train/step.py", "(loss * (weight * fraction))", "(loss * (2 * weight * fraction))", None),
        ("learners/segmenter.py", "weight * nats", "2 * weight * nats", lambda job: job.task == "segmentation"),
        (
            "learners/adversarial.py",
            "PENALTY_WEIGHT = 10.0",
            "PENALTY_WEIGHT = 9.0",
            lambda job: job.task == "generation",
        ),
        ("augment/warp.py", "cv2.INTER_LINEAR, 0)}", "cv2.INTER_CUBIC, 0)}", lambda job: bool(online(job) & MOVING)),
        (
            "models/resnet.py",
            "residual = self.bn3(",
            "residual = 2 * self.bn3(",
            lambda job: uses(job, "resnet") or uses(job, "resnext"),
        ),
        (
            "models/vgg.py",
            "kernel, padding=kernel // 2",
            "kernel, padding=0",
            lambda job: uses(job, "vgg") or uses(job, "segnet"),
        ),
        # reached by dispatch: `network.fit`, which a detector calls where it exists
        ("models/parts/svm.py", "def finish(self", "def finish(self, _=0", lambda job: job.architecture == "rcnn"),
        # the score by which the best epoch is chosen
        ("tasks/classification.py", "rank < 5", "rank < 4", lambda job: job.task == "classification"),
        (
            "metrics/miou.py",
            "matrix.sum(axis=0) + ",
            "2 * matrix.sum(axis=0) + ",
            lambda job: job.task == "segmentation",
        ),
    ],
)
def test_what_changes_results_makes_exactly_those_stale(
    file: str, old: str, new: str, chosen: Callable[[Job], bool] | None, edit: Edits, before: dict[str, dict[str, Any]]
) -> None:
    edit(file, old, new)
    assert stale(before) == (set(SHIPPED.jobs) if chosen is None else jobs(chosen))


@pytest.mark.parametrize(("release", "concerns"), [("2.0.99", False), ("2.99.0", True)])
def test_a_release_of_albumentations_concerns_jobs_that_use_it(
    release: str, concerns: bool, before: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_library() -> dict[str, Any]:
        return fingerprint.inputs(roots.training(SHIPPED.jobs["linear"], [{"contrast": {}}]))

    installed, first = version, of_library()
    monkeypatch.setattr(fingerprint, "version", lambda name: release if name == "albumentations" else installed(name))
    fingerprint.minor_version.cache_clear()
    changed = stale(before)
    assert changed == (jobs(lambda job: bool(online(job) & OF_LIBRARY)) if changed else set())
    assert (of_library() != first) is concerns
    fingerprint.minor_version.cache_clear()


def test_a_caption_concerns_evaluations_alone(evaluated: dict[str, Any], edit: Edits) -> None:
    edit("plots/figures.py", "font_size=11", "font_size=12")
    assert fingerprint.inputs(roots.evaluation(SHIPPED.jobs["linear"])) != evaluated


def test_the_definitions_behind_linear_are_listed() -> None:
    """So that a diff shows what joins: what joins without need retrains everybody's jobs without need."""
    listed = LINEAR.read_text(encoding="utf-8").splitlines()
    counted = list(decided("linear")["code"])
    assert counted == listed, f"{LINEAR.name} lacks {set(counted) - set(listed)}, has {set(listed) - set(counted)}"


def test_an_architecture_is_named_by_an_option_alone() -> None:
    """No code names another architecture in a text, which fingerprints would not follow."""
    names = set(plugins.names("models"))
    literals = re.compile(r'(?:build_network|backbone|levels_of)\(\s*["\']|load\(\s*["\']models["\'],\s*["\']')
    for path in sorted((ROOT / "pipeline").rglob("*.py")):
        assert not literals.search(path.read_text(encoding="utf-8")), path
    for name in names:
        for node in ast.walk(ast.parse(plugins.source("models", name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name != "build":
                defaults = [*node.args.defaults, *node.args.kw_defaults]
                assert not [item for item in defaults if isinstance(item, ast.Constant) and item.value in names]


def test_every_part_counts() -> None:
    code_roots = ["pipeline.models.linear"]
    first = fingerprint.compute_fingerprint(code_roots, job={"lr": 0.1}, dataset="d")
    assert first == fingerprint.compute_fingerprint(code_roots * 2, dataset="d", job={"lr": 0.1})
    others = [
        fingerprint.compute_fingerprint(code_roots, job={"lr": 0.2}, dataset="d"),
        fingerprint.compute_fingerprint(code_roots, job={"lr": 0.1}, dataset="e"),
        fingerprint.compute_fingerprint(["pipeline.models.lenet5:build"], job={"lr": 0.1}, dataset="d"),
    ]
    assert len({first, *others}) == 4
