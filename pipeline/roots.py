"""Where the code that decides a job's result begins: the roots of its fingerprints (pipeline/fingerprint.py)."""

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline import plugins, pretrained_weights
from pipeline.params import Job, Policy, Transforms

#: what every training runs; the worker group is made before the loop begins
TRAINING = ("pipeline.train.loop:train", "pipeline.train.ranks:form_worker_group")
EVALUATION = ("pipeline.evaluate.stage:evaluate", "pipeline.evaluate.stage:Model", "pipeline.evaluate.stage:Plan")
#: what code alone can't tell, as it depends on the settings
NORMALIZATION = "pipeline.pretrained_weights:normalization"
PUBLISHED_EXTRACTOR = "pipeline.learners.feature_extractor:load_inception"


def training(job: Job, online: Transforms) -> tuple[str, ...]:
    """The roots of a job's training, with the transforms of its policy; derived fields count by their content."""
    derived = (module_name("augment.derived", name) for name in plugins.derived_fields(job.architecture, job.loss))
    members = [f"{module}:{member}" for module in derived for member in ("FIELD", "SPLITS")]
    return (*TRAINING, *_job(job), *transforms(online), *members)


def evaluation(job: Job, online: Iterable[Transforms] = ()) -> tuple[str, ...]:
    """The roots of a job's evaluation; `online`: the transforms of each policy that changes test images."""
    derived = [module_name("augment.derived", name) for name in plugins.needed_fields(job.architecture)]
    return (*EVALUATION, *_job(job), *derived, *(name for policy in online for name in transforms(policy)))


def extraction(extractor: dict[str, Any]) -> tuple[str, ...]:
    """The roots of the features by an extractor, from its description; that of the published one is empty."""
    roots = ("pipeline.learners.feature_extractor:extract", "pipeline.checkpoint:load")
    if not extractor:
        return (*roots, PUBLISHED_EXTRACTOR)
    networks = architectures(extractor["architecture"], extractor["options"])
    return (*roots, module_name("tasks", extractor["task"]), *(module_name("models", name) for name in networks))


def preparation(data_format: str) -> tuple[str, ...]:
    """The roots of a prepared data set."""
    return ("pipeline.prepare.make:make", module_name("prepare.formats", data_format))


def staging(policy: Policy) -> tuple[str, ...]:
    """The roots of what a policy stages, and of its contact sheet."""
    return ("pipeline.augment.stage:_stage", *transforms([*policy.online, *policy.staged.transforms]))


def derivation(name: str) -> tuple[str, ...]:
    """The roots of a derived field."""
    return ("pipeline.augment.joined:make", module_name("augment.derived", name))


def transforms(online: Transforms) -> tuple[str, ...]:
    """The plug-ins of a policy's transforms."""
    return tuple(module_name("augment.transforms", name) for entry in online for name in entry)


def _job(job: Job) -> Iterator[str]:
    """The plug-ins of a job, and what its settings ask for."""
    yield module_name("tasks", job.task)
    yield from (module_name("models", name) for name in architectures(job.architecture, job.options))
    if job.weights is not None:
        yield NORMALIZATION
    if job.extractor in pretrained_weights.EXTRACTORS:
        yield PUBLISHED_EXTRACTOR


def architectures(architecture: str, options: dict[str, Any]) -> list[str]:
    """An architecture and all that it is built of: those that its options name, and those of options that are not set.

    Nested options are searched, too. An architecture is always named by an option of `build`
    (tests/test_fingerprint.py), so no other is loaded.
    """
    names, all_names = list[str](), plugins.names("models")
    waiting = [architecture, *_texts(options)]
    while waiting:
        name = waiting.pop(0)
        if name in all_names and name not in names:
            names.append(name)
            defaults = _defaults(plugins.source("models", name))
            waiting += [value for key, value in defaults.items() if name != architecture or key not in options]
    return names


def backbone(architecture: str) -> str | None:
    """The backbone that an architecture takes where no option names one."""
    return _defaults(plugins.source("models", architecture)).get("backbone")


@functools.cache
def _defaults(path: Path) -> dict[str, Any]:
    """The options of an architecture's `build` whose default is a literal, and these."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == "build":
            pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
            return {option.arg: value.value for option, value in pairs if isinstance(value, ast.Constant)}
    return {}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def module_name(kind: str, name: str) -> str:
    """`pipeline.models.lenet5`, or `plugins.models.mine` of a user's own."""
    path = plugins.source(kind, name)
    return f"pipeline.{kind}.{name}" if path.is_relative_to(plugins.ROOT) else f"plugins.{kind.split('.')[-1]}.{name}"
