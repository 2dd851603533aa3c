"""Faults of content in params.yaml: unknown names and options, and names that collide.

Faults of form (unknown keys, wrong types) are pipeline/params.py's.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import params_fit, plugins, pretrained_weights, studies
from pipeline.contracts import check as contracts
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.params import Dataset, Job, Params, Study

#: path in the file, and the text of the fault
Faults = Iterator[tuple[str, str]]


def all_faults(params: "Params", value: dict[str, Any], *, empty: bool) -> Faults:
    """Faults of content in a file without faults of form; `empty`: that no job is there, or selected, is none."""
    contracts.check(("report.sections", name) for name in plugins.own_names("report.sections"))  # no setting names them
    content = [(where, text) for where, text in faults(params, value) if params.jobs or where != "roster"]
    yield from content
    if not params.jobs and not empty:
        yield "jobs", "there is none. `convline add FOLDER` makes the first ones for a folder of images."
    elif not params.selected() and not empty and all(where != "roster" for where, _ in content):
        hint = f"Write `all`, or names among: {', '.join(params.words())}."
        yield "roster", f"{params.roster} selects no job. {hint}"


def faults(params: "Params", value: dict[str, Any]) -> Faults:
    """Faults of content, as path and text; names include those of entries with faults of form."""
    broken = list(_check_contracts(params))  # what a broken plug-in allows can't be told
    yield from broken or [*_content_faults(params, value), *params_fit.faults(params)]


def _check_contracts(params: "Params") -> Faults:
    """Check the plug-ins that the file names, each once; those that don't exist are faults elsewhere."""
    used: dict[tuple[str, str], str] = {}
    for name, dataset in params.datasets.items():
        used.setdefault(("prepare.formats", dataset.format), f"datasets.{name}.format")
        for field in dataset.derived:
            used.setdefault(("augment.derived", field), f"datasets.{name}.derived.{field}")
    for name, policy in params.augmentation.items():
        for transform in (key for entry in [*policy.online, *policy.staged.transforms] for key in entry):
            used.setdefault(("augment.transforms", transform), f"augmentation.{name}")
    for name, job in params.jobs.items():
        used.setdefault(("models", job.architecture), f"jobs.{name}.architecture")
        used.setdefault(("tasks", job.task), f"jobs.{name}.task")
    for (kind, name), where in used.items():
        if name in plugins.names(kind):
            yield from ((where, text) for text in contracts.faults(kind, name))


def _content_faults(params: "Params", value: dict[str, Any]) -> Faults:
    named = {name: list(map(str, section)) for name, section in value.items() if isinstance(section, dict)}
    yield from _check_words("roster", params.roster_words, named)
    for name, words in params.sets.items():
        yield from _check_words(f"sets.{name}", words, named)
    for section in ("datasets", "augmentation", "sets", "jobs", "studies"):
        for name in named.get(section, []):
            if section != "jobs" or not _written_out(name, named):
                yield from _check_name(section, name)
    for name, dataset in params.datasets.items():
        yield from _check_dataset(f"datasets.{name}", dataset)
    for name, policy in params.augmentation.items():
        for part, transforms in (("online", policy.online), ("staged.transforms", policy.staged.transforms)):
            for number, transform in enumerate(transforms):
                yield from _check_transform(f"augmentation.{name}.{part}.{number}", transform)
    one_seed = {name.rpartition(".")[0] or name: name for name in params.jobs}  # other seeds have the same faults
    for name in one_seed.values():
        job = params.jobs[name]
        yield from _check_job(f"jobs.{name}", job, named)
        yield from _check_derived(name, job, params)
    for name, study in params.studies.items():
        yield from _check_study(f"studies.{name}", study, named)
    yield from _check_words_differ(named)
    yield from _check_folders(params)
    yield from _check_extractors(params)


def _written_out(job: str, named: dict[str, list[str]]) -> bool:
    """Whether a job is a study's, so that the file does not hold its name."""
    return studies.study_of(job) in named.get("studies", [])


def _check_words(where: str, words: list[str], named: dict[str, list[str]]) -> Faults:
    """Check that each word of a roster or a set is a name."""
    own = [job for job in named.get("jobs", []) if not _written_out(job, named)]
    names = [
        *own,
        *(name for section in ("datasets", "sets", "studies") for name in named.get(section, [])),
        studies.ALL,
    ]
    for word in words:
        if word not in names and word not in named.get("jobs", []):
            yield where, plugins.unknown("job, data set, study or set of jobs", word, names)


def _check_words_differ(named: dict[str, list[str]]) -> Faults:
    """Check that no word of a roster means two things; a data set and a job may have one name, which is both."""
    taken = {studies.ALL: "all jobs", **dict.fromkeys(named.get("jobs", []), "a job")}
    for section, what in (("sets", "a set of jobs"), ("studies", "a study"), ("datasets", "a data set")):
        for name in named.get(section, []):
            other = taken.setdefault(name, what)
            if other not in (what, "a job") or (other == "a job" and section != "datasets"):
                yield f"{section}.{name}", f"the name means {other} in a roster. Rename one of the two."


def _check_name(section: str, name: str) -> Faults:
    if not name.replace("-", "").replace("_", "").isalnum():
        yield f"{section}.{name}", "names become folders and hold letters, digits, '-' and '_' only. Rename it."
    if section == "jobs" and name in pretrained_weights.EXTRACTORS:
        yield f"jobs.{name}", f"`extractor: {name}` is the published network of that name. Rename the job."
    if (section, name) == ("augmentation", "none"):
        yield "augmentation.none", "none is what jobs without augmentation have. Rename it."


def _check_folders(params: "Params") -> Faults:
    """`a-b` with policy `c` and `a` with policy `b-c` would share data/augmented/a-b-c."""
    owners: dict[str, str] = {}
    for name, job in params.jobs.items():
        named = [
            ("loss" if field in job.loss else "architecture", field)
            for field in plugins.derived_fields(job.architecture, job.loss)
        ]
        named += [("augmentation", job.augmentation)] if job.augmentation is not None else []
        for kind, part in named:
            pair = f"dataset {job.dataset} with {kind} {part}"
            other = owners.setdefault(f"{job.dataset}-{part}", pair)
            if other != pair:
                yield f"jobs.{name}.{kind}", f"{pair} and {other} would share one folder. Rename one of them."


def _check_extractors(params: "Params") -> Faults:
    """If a task's scores depend on the extractor, jobs that are ranked together must use the same one."""
    first: dict[tuple[str, str], str] = {}
    for name, job in params.selected().items():
        if job.task in plugins.names("tasks") and plugins.options("tasks", job.task, "comparable") is not None:
            other = first.setdefault((job.task, job.dataset), name)
            other_extractor = params.jobs[other].extractor
            if other_extractor != job.extractor:
                text = f"{job.extractor or 'no job'} measures it, and {other_extractor or 'no job'} measures {other}"
                yield f"jobs.{name}.extractor", f"{text}: such scores can't be compared. Give both the same."


def _check_plugin(where: str, kind: str, name: str, function: str, options: tuple[str, Collection[str]]) -> Faults:
    """Check that the plug-in exists and that its function has the options, given as (path, names)."""
    try:
        known_options = plugins.options(kind, name, function) or []
    except UserError as error:
        yield where, str(error)
        return
    takes_any = name in plugins.names(kind) and plugins.takes_any_option(kind, name, function)
    for option in options[1]:
        if option not in known_options and not takes_any:
            yield options[0], plugins.unknown("option", option, known_options)


def _check_dataset(where: str, dataset: "Dataset") -> Faults:
    options = f"{where}.options", dataset.options
    yield from _check_plugin(f"{where}.format", "prepare.formats", dataset.format, "read", options)
    if dataset.path is not None:
        path = Path(dataset.path)
        if path.is_absolute() or ".." in path.parts or path.parts[:2] != ("data", "raw"):
            yield f"{where}.path", f"{dataset.path!r} is not under data/raw/. Move the folder there and `dvc add` it."
    for name, settings in dataset.derived.items():
        at = f"{where}.derived.{name}"
        yield from _check_plugin(at, "augment.derived", name, "build", (at, settings))


def _check_transform(where: str, transform: dict[str, dict[str, Any]]) -> Faults:
    if len(transform) != 1:
        yield where, f"one transform an entry, as in `- shift: {{limit: 0.1}}`; found {len(transform)}."
        return
    ((name, options),) = transform.items()
    yield from _check_plugin(where, "augment.transforms", name, "build", (where, options))


def _check_derived(name: str, job: "Job", params: "Params") -> Faults:
    """Check that derived fields of the loss or the architecture exist and support the policy's transforms."""
    study, policy = params.study(name), params.policy(job.policy)
    for field in plugins.derived_fields(job.architecture, job.loss):
        asked = f"jobs.{name}.loss.{field}" if field in job.loss else f"jobs.{name}.architecture"
        if job.dataset in params.datasets and field not in params.datasets[job.dataset].derived:
            remedy = f"Write `derived: {{{field}: {{}}}}` into datasets.{job.dataset}."
            why = "" if field in job.loss else f", which {job.architecture} needs"
            yield asked, f"{job.dataset} has no {field}{why}. {remedy}"
        if job.loss.get(field, True) is not True:
            remedy = f"Write true; how it is made is said at datasets.{job.dataset}.derived.{field}."
            yield asked, f"{job.loss[field]!r} is neither true nor false. {remedy}"
        if policy.staged.copies:
            yield f"jobs.{name}.augmentation", f"staged copies have no {field}. Put their transforms into `online`."
        followed = plugins.constant("augment.derived", field, "TRANSFORMS")
        for transform in (transform for entry in policy.online for transform in entry):
            if followed is not None and transform not in followed:
                remedy = f"Choose a policy of {', '.join(followed)}."
                yield f"jobs.{name}.augmentation", f"{field} can't follow {transform}, of {job.policy}. {remedy}"
        if study is not None and study.gradients:
            yield asked, f"gradients are measured without {field}. Set gradients to false."


def _check_learner(where: str, job: "Job") -> Faults:
    """Loss options belong to the architecture's own learner where it brings one, else to the task's."""
    kind, name = "tasks", job.task
    if (
        job.architecture in plugins.names("models")
        and plugins.options("models", job.architecture, "learner") is not None
    ):
        kind, name = "models", job.architecture
    yield from _check_plugin(f"{where}.task", "tasks", job.task, "learner", (f"{where}.loss", ()))
    if name in plugins.names(kind):
        yield from _check_plugin(f"{where}.task", kind, name, "learner", (f"{where}.loss", job.loss))


def _check_sources(where: str, job: "Job", jobs: list[str]) -> Faults:
    if job.pretrained is not None and len(job.pretrained.model_dump(exclude_none=True)) != 1:
        yield f"{where}.pretrained", "give one of `job`, `file` and `weights`."
    if job.weights in pretrained_weights.EXTRACTORS:
        yield f"{where}.pretrained.weights", f"{job.weights} only measures. Write `extractor: {job.weights}`."
    elif job.weights is not None:
        try:
            pretrained_weights.url(job.weights)
        except UserError as error:
            yield f"{where}.pretrained.weights", str(error)
    for role, name in job.sources.items():
        if name not in jobs:
            valid_names = [*jobs, *pretrained_weights.EXTRACTORS] if role == "extractor" else jobs
            yield f"{where}.{role}", plugins.unknown("job", name, valid_names)
        elif f"jobs.{name}" == where:
            yield f"{where}.{role}", "a job can't start from itself. Name another."


def _check_transfer(where: str, job: "Job") -> Faults:
    """Settings that contradict each other; whether a network has the modules is seen when it is built."""
    for name in set(job.freeze) & set(job.unfreeze):
        yield f"{where}.unfreeze", f"{name} is in freeze too, which is for good. Leave it out of one of the two."
    for name, epoch in job.unfreeze.items():
        if epoch >= job.epochs:
            yield (
                f"{where}.unfreeze.{name}",
                f"unfreeze starts after epoch {epoch}, but the job has {job.epochs} epochs. Lower it or use freeze.",
            )
    if job.train_images is not None and job.fraction is not None:
        yield f"{where}.fraction", "give either `train_images` or `fraction`."


def _check_study(where: str, study: "Study", named: dict[str, list[str]]) -> Faults:
    """Check that the claims name variants, and that variants have the same test images."""
    for variant in study.variants:
        yield from _check_name(f"{where}.variants", variant)
    for number, text in enumerate(study.claims):
        parsed = studies.claim(text)
        if not parsed.pairs or not all(parsed.variants):
            yield f"{where}.claims.{number}", f"{text!r} compares nothing. Write `a > b`, `a < b in parameters`."
            continue
        for variant in parsed.variants:
            if variant not in study.variants:
                yield f"{where}.claims.{number}", plugins.unknown("variant", variant, study.variants)
    for name in study.under:
        if name not in named.get("augmentation", []):
            yield f"{where}.under", plugins.unknown("augmentation", name, named.get("augmentation", []))
    if len(set(study.seeds)) < len(study.seeds) or min(study.seeds) < 0:
        yield f"{where}.seeds", "each is a whole number from 0 on, and given once."
    for setting in ("dataset", "task"):
        if len({str({**study.base, **change}.get(setting)) for change in study.variants.values()}) > 1:
            yield f"{where}.variants", f"they differ in {setting}, so they share no test images. Use one {setting}."


def _check_job(where: str, job: "Job", named: dict[str, list[str]]) -> Faults:
    datasets, policies = named.get("datasets", []), named.get("augmentation", [])
    if job.dataset not in datasets:
        yield f"{where}.dataset", plugins.unknown("dataset", job.dataset, datasets)
    if job.policy not in ["none", *policies]:
        yield f"{where}.augmentation", plugins.unknown("augmentation", job.policy, policies)
    yield from _check_learner(where, job)
    yield from _check_sources(where, job, named.get("jobs", []))
    options = f"{where}.options", job.options
    yield from _check_plugin(f"{where}.architecture", "models", job.architecture, "build", options)
    if job.architecture in plugins.names("models") and job.task in plugins.names("tasks"):
        tasks = plugins.constant("models", job.architecture, "TASKS") or ()
        if plugins.network_task(job.task) not in tasks:
            yield f"{where}.task", f"{job.architecture} does {', '.join(tasks)}, not {job.task}. Change one of the two."
    if job.schedule == "step" and not job.milestones:
        yield f"{where}.milestones", "schedule step needs epochs at which lr falls, as in `milestones: [6, 9]`."
    yield from _check_transfer(where, job)
    if job.optimizer == "sgd" and job.nesterov and not job.momentum:
        yield f"{where}.nesterov", "needs momentum above 0. Set one of the two."
