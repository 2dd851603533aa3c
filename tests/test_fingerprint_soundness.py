"""Nothing that runs in a training or an evaluation is missing in its fingerprint.

Small jobs are run under a tracer, in one process. Each function of pipeline/ that ran must count, or be in OUTSIDE. A
missed one would serve a stale model as fresh.
"""

import inspect
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from pipeline import definitions, fingerprint, params, plugins, roots, sample
from pipeline.evaluate import stage as evaluate_stage
from pipeline.params import Params
from pipeline.reachable import is_part
from pipeline.train import loop, trial
from pipeline.train.job_state import JobSpec
from pipeline.train.ranks import Ranks
from tests.helpers import few_digits, support
from tests.train import golden

#: beside a job of each task: all transforms, staged copies and what else settings switch on
JOBS: dict[str, dict[str, Any]] = {
    **golden.JOBS,
    "transforms": {"augmentation": "all", "sampling": "balanced", "size": 16, "batch": 16},
    "transfer": {
        **golden.JOBS["classification"],
        "augmentation": "staged",
        "pretrained": {"job": "classification"},
        "freeze": ["conv1"],
        "layer_decay": 0.5,
    },
    "generation": {**golden.JOBS["generation"], "extractor": "classification"},
    "instance_segmentation": {**golden.JOBS["instance_segmentation"], "augmentation": "objects"},
}
#: what runs and counts not, beside OUTSIDE: only the picture of an epoch needs it, and evaluations count it
PICTURES = {
    "pipeline.images:grid": "puts pictures side by side",
    "pipeline.learners.adversarial:generate_snapshot": "images of a picture, by random numbers of its own",
}


def comes(transform: str) -> bool:
    """Whether a transform comes after those that choose a part of the image."""
    return not plugins.constant("augment.transforms", transform, "BEFORE_FIT")


def serves(transform: str, task: str) -> bool:
    tasks = plugins.constant("augment.transforms", transform, "TASKS")
    return tasks is None or task in tasks


#: options without a default
NEEDED = {"albumentations": {"name": "CLAHE"}}
NAMES = sorted(plugins.names("augment.transforms"), key=comes)
POLICIES = {
    "light": {"online": [{"shift": {"limit": 0.1}}]},
    "all": {"online": [{name: NEEDED.get(name, {})} for name in NAMES if serves(name, "classification")]},
    "objects": {"online": [{name: {"p": 1.0}} for name in NAMES if not serves(name, "classification")]},
    "staged": {"staged": {"balance": True, "copies": 1, "transforms": [{"noise": {}}]}},
}


def run_traced(function: Callable[[], object]) -> set[CodeType]:
    """The code objects of functions of pipeline/ that ran; what only an import runs is left out."""
    ran = set[CodeType]()

    def trace(frame: FrameType, event: str, argument: object) -> None:
        at_import = frame.f_back is not None and frame.f_back.f_code.co_name == "<module>"
        if frame.f_code.co_flags & inspect.CO_OPTIMIZED and not at_import:
            ran.add(frame.f_code)

    before = sys.gettrace()
    threading.settrace(trace)
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
        threading.settrace(before)
    return {code for code in ran if Path(code.co_filename).is_relative_to(fingerprint.ROOT / "pipeline")}


def names(codes: Iterable[CodeType]) -> Iterator[str]:
    """`module:name` of the definitions that hold these code objects."""
    for code in codes:
        path = Path(code.co_filename).relative_to(fingerprint.ROOT).with_suffix("")
        module = ".".join(path.parts).removesuffix(".__init__")
        stored = definitions.read(fingerprint.folders(), module)
        assert stored is not None
        spans = [
            (last - first, name)
            for name, definition in stored.definitions.items()
            for first, last in definition.lines
            if first <= code.co_firstlineno <= last
        ]
        yield f"{module}:{min(spans)[1]}"


def missed(codes: Iterable[CodeType], code_roots: Iterable[str]) -> list[str]:
    """What ran and neither counts nor is an exception."""
    counted = fingerprint.inputs(code_roots)["code"].keys() | PICTURES.keys()
    asked_for = (roots.NORMALIZATION, roots.PUBLISHED_EXTRACTOR)
    return sorted(
        name
        for name in set(names(codes))
        if name not in counted and (name in asked_for or not is_part(name, fingerprint.OUTSIDE))
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    root = tmp_path_factory.mktemp("sound")
    jobs = {name: {"task": name, **job} if name in golden.JOBS else job for name, job in JOBS.items()}
    for job in jobs.values():
        job["train_images"], job["epochs"] = 2 * job["batch"], 1
    written = support.write_params(root, jobs, datasets=golden.DATASETS, augmentation=POLICIES)
    with few_digits.only(200):
        support.prepared(root, written)
    return root, written


@pytest.fixture(scope="module")
def job_specs(project: tuple[Path, Params]) -> dict[str, JobSpec]:
    return support.job_specs(*project)


@pytest.mark.parametrize("name", JOBS)
def test_all_that_runs_counts(name: str, project: tuple[Path, Params], job_specs: dict[str, JobSpec]) -> None:
    root, written = project
    job_spec = job_specs[name]
    for source in job_spec.job.sources.values():
        if not job_specs[source].model.exists():
            loop.train(job_specs[source], Ranks())
    trained = run_traced(lambda: loop.train(job_spec, Ranks()))
    assert len(trained) > 50
    beyond = [root for source in job_spec.job.sources.values() for root in job_specs[source].roots]
    assert not missed(trained, [*job_spec.roots, *beyond])

    extractor = job_specs[job_spec.job.extractor].model if job_spec.job.extractor else None
    model = evaluate_stage.Model(job_spec.model, None if extractor is None else (extractor, "x"))
    plan = evaluate_stage.Plan(written.evaluate.model_copy(update={"resamples": 5}))  # more of them run no other code
    target = root / "evaluations" / name
    target.mkdir(parents=True)
    measured = run_traced(lambda: evaluate_stage.evaluate(target, root, model, job_spec.job, plan))
    assert not missed(measured, evaluate_stage.code_roots(model, job_spec.job, plan))


def test_the_exceptions_are_few_and_each_has_a_reason() -> None:
    assert len(fingerprint.OUTSIDE | PICTURES) <= 15
    for name, reason in (fingerprint.OUTSIDE | PICTURES).items():
        module, _, inner = name.partition(":")
        stored = definitions.read(fingerprint.folders(), module)
        assert stored is not None, name
        assert not inner or inner in stored.definitions, name
        assert reason


@pytest.mark.parametrize("left_out", ["pipeline.tasks.classification", "pipeline.models.resnet"])
def test_control_what_a_root_is_missing_for_is_seen(left_out: str, job_specs: dict[str, JobSpec]) -> None:
    job_spec = job_specs["classification"]
    ran = run_traced(lambda: loop.train(replace(job_spec, work=job_spec.work.parent / left_out), Ranks()))
    lacking = missed(ran, [name for name in job_spec.roots if name != left_out])
    assert {name.partition(":")[0] for name in lacking} >= {left_out}


#: of all data sets of params.yaml
FACTS = sample.Facts(
    format="",
    classes=("a", "b", "c"),
    semantic_classes=("background", "a", "b"),
    counts={"train": 8, "val": 4, "test": 4},
    class_counts=(4, 2, 2),
    fields=sample.FIELDS,
    mean={"1": [0.5], "3": [0.5] * 3},
    std={"1": [0.5], "3": [0.5] * 3},
    keypoints=("left", "right"),
)
SHIPPED = params.read(fingerprint.ROOT / "params.yaml")


@pytest.mark.parametrize("name", [name for name in SHIPPED.jobs if SHIPPED.study(name) is None])
def test_all_that_an_architecture_is_built_of_counts(name: str) -> None:
    job = SHIPPED.jobs[name]
    ran = run_traced(lambda: trial.build(job, FACTS))
    assert not missed(ran, [*roots.training(job, []), "pipeline.train.trial:build"])
