"""Where the code that decides a job's result begins: the roots of its fingerprints (pipeline/fingerprint.py)."""

import ast
from collections.abc import Iterable, Iterator
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
    derived = (
        plugins.module_name("augment.derived", name) for name in plugins.derived_fields(job.architecture, job.loss)
    )
    members = [f"{module}:{member}" for module in derived for member in ("FIELD", "SPLITS")]
    return (*TRAINING, *_job(job), *transforms(online), *members)


def evaluation(job: Job, online: Iterable[Transforms] = ()) -> tuple[str, ...]:
    """The roots of a job's evaluation; `online`: the transforms of each policy that changes test images."""
    derived = _modules("augment.derived", plugins.needed_fields(job.architecture))
    return (*EVALUATION, *_job(job), *derived, *(name for policy in online for name in transforms(policy)))


def extraction(extractor: dict[str, Any]) -> tuple[str, ...]:
    """The roots of the features by an extractor, from its description; that of the published one is empty."""
    roots = ("pipeline.learners.feature_extractor:extract", "pipeline.checkpoint:load")
    if not extractor:
        return (*roots, PUBLISHED_EXTRACTOR)
    networks = architectures(extractor["architecture"], extractor["options"])
    return (
        *roots,
        plugins.module_name("tasks", extractor["task"]),
        *(plugins.module_name("models", name) for name in networks),
    )


def preparation(data_format: str) -> tuple[str, ...]:
    """The roots of a prepared data set."""
    return ("pipeline.prepare.make:make", plugins.module_name("prepare.formats", data_format))


def staging(policy: Policy) -> tuple[str, ...]:
    """The roots of what a policy stages, and of its contact sheet."""
    return ("pipeline.augment.stage:_stage", *transforms([*policy.online, *policy.staged.transforms]))


def derivation(name: str) -> tuple[str, ...]:
    """The roots of a derived field."""
    return ("pipeline.augment.joined:make", plugins.module_name("augment.derived", name))


def transforms(online: Transforms) -> tuple[str, ...]:
    """The plug-ins of a policy's transforms."""
    return _modules("augment.transforms", (name for entry in online for name in entry))


def _modules(kind: str, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(plugins.module_name(kind, name) for name in names)


def _job(job: Job) -> Iterator[str]:
    """The plug-ins of a job, and what its settings ask for."""
    yield plugins.module_name("tasks", job.task)
    yield from _modules("models", architectures(job.architecture, job.options))
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
            defaults = _defaults(name)
            waiting += [value for key, value in defaults.items() if name != architecture or key not in options]
    return names


def backbone(architecture: str) -> str | None:
    """The backbone that an architecture takes where no option names one."""
    return _defaults(architecture).get("backbone")


def _defaults(architecture: str) -> dict[str, Any]:
    """The options of an architecture's `build` whose default is a literal, and these."""
    build = plugins.function_of(plugins.source("models", architecture), "build")
    pairs = [] if build is None else zip(build.args.kwonlyargs, build.args.kw_defaults, strict=True)
    return {option.arg: value.value for option, value in pairs if isinstance(value, ast.Constant)}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
