"""Evaluation by the process that has just trained the job: torch is imported there, and other groups go on training.

What it writes are kept evaluations, which the evaluate stage takes by their fingerprint. A job that is not evaluated
here, or whose evaluation fails, is evaluated by the stage, which says what is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline import pretrained_weights, store
from pipeline.evaluate import stage
from pipeline.evaluate.stage import KEPT, Model, Plan
from pipeline.params import Params
from pipeline.train.job_state import JobSpec


@dataclass(frozen=True)
class Evaluator:
    """Evaluates a trained job on the device of its training; it is pickled to the processes that train.

    plans: what to measure of each job, by name.
    """

    root: Path
    plans: Mapping[str, Plan]

    @classmethod
    def of(cls, params: Params, root: Path) -> "Evaluator":
        """The evaluator of all chosen jobs."""
        return cls(root, {name: stage.plan(params, name) for name in params.selected()})

    def __call__(self, job_spec: JobSpec, device: str) -> bool:
        """Evaluate a job unless that was done before; whether it was evaluated now."""
        plan = self.plans.get(job_spec.name)
        if plan is None:
            return False
        model = Model(job_spec.model, _extractor(job_spec))
        mark = stage.fingerprint_of(self.root, model, job_spec.job, plan)
        if store.holds(self.root / KEPT / mark, mark):
            return False
        with store.folder(self.root / KEPT / mark, mark) as path:
            stage.evaluate(path, self.root, model, job_spec.job, plan, device)
        return True


def _extractor(job_spec: JobSpec) -> tuple[Path, str] | None:
    """Folder or file, and digest, of the extractor from which the job was trained, before models/ has it."""
    source, name = job_spec.sources.get("extractor"), job_spec.job.extractor
    if source is None or name is None:
        return None
    return source, store.content_digest(source) if source.is_dir() else pretrained_weights.digest(name)
