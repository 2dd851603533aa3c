"""Checks of jobs that need the prepared data: what the task needs, files of weights, whether a learner can be built."""

from pathlib import Path

from pipeline import plugins, sample, shards, store
from pipeline.errors import UserError
from pipeline.params import Job, Params, Policy
from pipeline.sample import Facts


def check(params: Params, root: Path) -> None:
    """Raise one UserError with the faults of all selected jobs; of jobs that differ in their seed one is checked."""
    one_seed = {store.digest(job.model_dump(exclude={"seed"})): name for name, job in params.selected().items()}
    faults = dict[str, None]()
    for name in one_seed.values():
        job = params.jobs[name]
        facts = sample.facts(root / "data/prepared" / job.dataset)
        try:
            check_needs(name, job, facts)
            check_learnable(name, job, facts, root)
            if job.pretrained is not None and job.pretrained.file is not None:
                weights(name, root / job.pretrained.file)
            buildable(name, job, facts)
            transforms(name, job, params.policy(job.policy), facts)
        except UserError as error:
            faults[str(error)] = None
    if faults:
        raise UserError("\n".join(faults))


def transforms(name: str, job: Job, policy: Policy, facts: Facts) -> None:
    """Raise a UserError if a transform of a job's policy can't be built or can't be applied to the data's images."""
    entries = [*policy.online, *policy.staged.transforms]
    for transform in (transform for entry in entries for transform in entry):
        needs = plugins.constant("augment.transforms", transform, "NEEDS") or ()
        missing = [field for field in needs if field not in facts.fields]
        if missing:
            lack = f"{transform}, of {job.policy}, needs {', '.join(missing)}, which {job.dataset} lacks"
            raise UserError(f"params.yaml: jobs.{name}.augmentation: {lack}. Use another augmentation.")
    if entries:
        from pipeline.augment.policy import check  # brings albumentations

        check(entries, facts.keypoints)


def weights(name: str, path: Path) -> Path:
    """The file of weights that a job starts from; UserError if it is missing."""
    if not path.is_file():
        raise UserError(f"params.yaml: jobs.{name}.pretrained.file: there is no {path}. Put the weights there.")
    return path


def check_needs(name: str, job: Job, facts: Facts) -> None:
    """Raise a UserError if the dataset lacks what the task, an option, the sampling or `train_images` needs."""
    for option, needs in (plugins.constant("models", job.architecture, "OPTION_NEEDS") or {}).items():
        if job.options.get(option) and not set(needs) <= set(facts.fields):
            raise UserError(
                f"params.yaml: jobs.{name}.options.{option}: needs {', '.join(needs)}, which {job.dataset} lacks. "
                "Choose another dataset, or remove the option."
            )
    missing = [field for field in plugins.constant("tasks", job.task, "NEEDS") if field not in facts.fields]
    if job.sampling == "balanced" and "label" not in facts.fields:
        raise UserError(
            f"params.yaml: jobs.{name}.sampling: balanced needs a label, which {job.dataset} lacks. Use shuffled."
        )
    if (job.train_images or 0) > facts.counts["train"]:
        raise UserError(f"params.yaml: jobs.{name}.train_images: {job.dataset} has {facts.counts['train']}. Lower it.")
    if missing:
        raise UserError(
            f"params.yaml: jobs.{name}.dataset: {job.task} needs {', '.join(missing)}, which {job.dataset} lacks. "
            "Choose another dataset or task."
        )


def check_learnable(name: str, job: Job, facts: Facts, root: Path) -> None:
    """Raise a UserError if the dataset's train split lacks what the task needs to be learnt at all, such as any box."""
    module = plugins.load("tasks", job.task)
    if not hasattr(module, "missing"):
        return
    missing = module.missing(facts, shards.split(root / "data/prepared" / job.dataset, "train"))
    if missing is not None:
        raise UserError(
            f"params.yaml: jobs.{name}.dataset: {job.task} can't be learnt from {job.dataset}: {missing} in train. "
            "Add what is missing, change the dataset's split or seed, or choose another dataset."
        )


def buildable(name: str, job: Job, facts: Facts) -> None:
    """Raise a UserError that names the setting, if the learner can't be built or can't process the job's images."""
    from pipeline.train import trial  # brings torch

    try:
        trial.build(job, facts)
    except UserError as error:
        raise UserError(f"params.yaml: jobs.{name}.{error}") from error
