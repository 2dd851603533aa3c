"""What can be known of jobs once their data are prepared: these and weights are there, and learners can be built."""

from pathlib import Path

from pipeline import plugins, sample, store
from pipeline.errors import UserError
from pipeline.params import Job, Params
from pipeline.sample import Facts


def check(params: Params, root: Path) -> None:
    """One UserError with the faults of all selected jobs; of a study's seeds the last stands for all."""
    alike = {store.digest(job.model_dump(exclude={"seed"})): name for name, job in params.selected().items()}
    faults = dict[str, None]()
    for name in alike.values():
        job = params.jobs[name]
        facts = sample.facts(root / "data/prepared" / job.dataset)
        try:
            check_needs(name, job, facts)
            if job.pretrained is not None and job.pretrained.file is not None:
                weights(name, root / job.pretrained.file)
            buildable(name, job, facts)
        except UserError as error:
            faults[str(error)] = None
    if faults:
        raise UserError("\n".join(faults))


def weights(name: str, path: Path) -> Path:
    """The file that a job starts from; UserError where it is missing."""
    if not path.is_file():
        raise UserError(f"params.yaml: jobs.{name}.pretrained.file: {path} is not there. Put the weights there.")
    return path


def check_needs(name: str, job: Job, facts: Facts) -> None:
    """UserError where the dataset lacks what the task, an option, the sampling or the number of images needs."""
    for option, needs in (plugins.constant("models", job.architecture, "OPTION_NEEDS") or {}).items():
        if job.options.get(option) and not set(needs) <= set(facts.fields):
            raise UserError(
                f"params.yaml: jobs.{name}.options.{option}: {job.dataset} has no {', '.join(needs)}, which it needs. "
                "Choose another dataset, or leave it out."
            )
    missing = [field for field in plugins.constant("tasks", job.task, "NEEDS") if field not in facts.fields]
    if job.sampling == "balanced" and "label" not in facts.fields:
        raise UserError(f"params.yaml: jobs.{name}.sampling: {job.dataset} has no label to balance. Use shuffled.")
    if (job.train_images or 0) > facts.counts["train"]:
        raise UserError(
            f"params.yaml: jobs.{name}.train_images: {job.dataset} has {facts.counts['train']} of them. Ask for fewer."
        )
    if missing:
        raise UserError(
            f"params.yaml: jobs.{name}.dataset: {job.dataset} has no {', '.join(missing)}, which {job.task} needs. "
            "Choose another dataset or task."
        )


def buildable(name: str, job: Job, facts: Facts) -> None:
    """UserError at the job's setting where its learner can't be built, or its images don't go through the network."""
    from pipeline.train import trial  # brings torch

    try:
        trial.build(job, facts)
    except UserError as error:
        raise UserError(f"params.yaml: jobs.{name}.{error}") from error
