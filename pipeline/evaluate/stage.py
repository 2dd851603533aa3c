"""The evaluate stage: every trained model on val and test, as rows, scores with intervals, and pictures.

Scores are computed from rows alone: `evaluations/<job>/{val,test}.parquet` hold one row per sample, and
`draws.parquet` the scores of each resample of the test images. Candidates are ranked on val; test scores are reported,
and compared once with the champion. A study's jobs are also measured on changed test images, and have no pictures.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import bootstrap, device, fingerprint, plugins, pretrained_weights, roots, scores, shards, store
from pipeline.augment.joined import joined
from pipeline.evaluate import scoring
from pipeline.params import Evaluate, Job, Params, Policy

log = logging.getLogger(__name__)

SPLITS = ("val", "test")
SEED = 0
KEEP_BYTES = 2_000_000_000
#: earlier evaluations, by fingerprint
KEPT = ".work/evaluations"
#: features of real images, by extractor, for the next model that it measures
FEATURES = ".work/features"


def run(params: Params, root: Path) -> None:
    """Bring `evaluations/` and `metrics/` up to date with `models/`; speeds go to reports/speed.json."""
    wanted = {name: job for name, job in params.with_results().items() if (root / "models" / name).is_dir()}
    plans = {name: plan(params, name) for name in wanted}
    models = {name: Model(root / "models" / name, _extractor(root, job)) for name, job in wanted.items()}
    marks = {name: fingerprint_of(root, models[name], job, plans[name]) for name, job in wanted.items()}
    chosen = device.choose()
    stale = [name for name, mark in marks.items() if not _is_kept(root, name, mark)]
    if stale:
        log.info(f"evaluate: {len(stale)} of {len(wanted)} models to evaluate on {device.title(chosen)}")
    for name, job in wanted.items():
        target = root / "evaluations" / name

        def make(path: Path, name: str = name, job: Job = job) -> None:
            evaluate(path, root, models[name], job, plans[name], chosen)

        how = store.update(target, marks[name], root / KEPT, make)
        metrics = {"job": name, "task": job.task, "architecture": job.architecture, "dataset": job.dataset}
        metrics |= store.read_json(target / "scores.json")
        store.write_json(root / "metrics" / f"{name}.json", metrics)
        _tell(name, how, metrics, store.read_json(target / "baseline.json"))
    for name, job in wanted.items():  # when all else is done, so that nothing of ours disturbs it
        if params.study(name) is None:
            _measure_speed(root, name, job, marks[name], chosen)
    store.keep_only(root / "evaluations", set(wanted))
    for path in (root / "metrics").glob("*"):
        if path.name not in {f"{name}.json" for name in wanted}:
            path.unlink()
    store.bound(root / KEPT, KEEP_BYTES, set(marks.values()))
    store.bound(root / FEATURES, KEEP_BYTES, set())


def _is_kept(root: Path, name: str, mark: str) -> bool:
    return any(store.holds(path, mark) for path in (root / "evaluations" / name, root / KEPT / mark))


def _tell(name: str, how: str, metrics: dict[str, Any], baseline: dict[str, Any] | None) -> None:
    val = f"val_{metrics['primary']}"
    unranked = f"; val {scores.undefined(metrics, val)}" if metrics[val] is None else ""
    beside = f"; {baseline['title']}: {baseline['value']:.4f}" if baseline else ""
    log.info(f"evaluate: {name:<16} {how:<9} {scores.words(metrics)}{unranked}{beside}")


@dataclass(frozen=True)
class Model:
    """The folder of the model to measure; of the extractor that measures it, the folder and its digest."""

    folder: Path
    extractor: tuple[Path, str] | None


def _extractor(root: Path, job: Job) -> tuple[Path, str] | None:
    """Folder and digest of the extractor that measures a job's model."""
    return None if job.extractor is None else pretrained_weights.extractor(root, job.extractor)


@dataclass(frozen=True)
class Plan:
    """What to measure of a job: settings, additions of its study, and the keyword arguments of its task's scorer."""

    settings: Evaluate
    under: dict[str, Policy] = field(default_factory=dict)
    gradients: bool = False
    asked: dict[str, Any] = field(default_factory=dict)


def plan(params: Params, name: str) -> Plan:
    """What to measure of a job."""
    study, asked = params.study(name), scoring.arguments(params.evaluate, params.jobs[name].task)
    if study is None:
        return Plan(params.evaluate, asked=asked)
    under = {policy: params.policy(policy) for policy in study.under}
    return Plan(params.evaluate.model_copy(update={"pictures": 0}), under, study.gradients, asked)


def fingerprint_of(root: Path, model: Model, job: Job, plan: Plan) -> str:
    """The fingerprint of an evaluation: of its model, data, plan and code."""
    derived = _derived(root, job)
    return fingerprint.compute_fingerprint(
        code_roots(model, job, plan),
        model=store.content_digest(model.folder),
        dataset=store.content_digest(root / "data/prepared" / job.dataset),
        settings=plan.settings.model_dump(include={"resamples", "pictures"}) | plan.asked,
        derived={field: store.content_digest(folder) for field, folder in derived.items()},
        under={name: policy.online for name, policy in plan.under.items()},
        gradients=plan.gradients and job.seed,
        extractor=model.extractor and model.extractor[1],
    )


def code_roots(model: Model, job: Job, plan: Plan) -> tuple[str, ...]:
    """Where the code that decides an evaluation begins."""
    own = roots.evaluation(job, [policy.online for policy in plan.under.values()])
    if model.extractor is None:
        return own
    folder, _ = model.extractor
    return own + roots.extraction(store.read_json(folder / "model.json") if folder.is_dir() else {})


def _derived(root: Path, job: Job) -> dict[str, Path]:
    """Folders of the derived fields that the job's model looks at; on changed images it computes them anew."""
    return {name: root / "data/augmented" / f"{job.dataset}-{name}" for name in plugins.needed_fields(job.architecture)}


def evaluate(path: Path, root: Path, model: Model, job: Job, plan: Plan, device: str = "cpu") -> None:
    """Write a model's rows, scores and pictures into the folder `path`; it predicts on a device."""
    from pipeline import checkpoint
    from pipeline.evaluate import baseline, gradients, inspection, pictures, predict

    store.verify(model.folder)
    prepared = root / "data/prepared" / job.dataset
    learner, _ = checkpoint.load(model.folder, device)
    if model.extractor is not None:
        source, digest = model.extractor
        extractor, description = checkpoint.load(source, device)
        mark = fingerprint.compute_fingerprint(roots.extraction(description), extractor=digest)
        learner.use_extractor(extractor, root / FEATURES / mark)
    answer = predict.predictor(learner, job.task)
    task = plugins.load("tasks", job.task)
    tables: dict[str, pa.Table] = {}
    derived = _derived(root, job)
    for split in SPLITS:
        stored = shards.split(prepared, split)
        whole = joined(stored, split, derived)
        with inspection.collect_features(learner, job.architecture, len(stored)) as features:
            tables[split], predictions = predict.rows(answer, whole, job.task, keep=plan.settings.pictures)
    if plan.settings.pictures:
        pictures.draw(path, task, stored, predictions, tables["test"], learner.settings, plan.settings.pictures)
        pictures.save(path, task.figures(tables["test"], learner.settings, **plan.asked))
        if hasattr(task, "model_figures"):
            pictures.save(path, task.model_figures(learner, shards.split(prepared, "train"), whole))
        pictures.save(path, pictures.epochs(checkpoint.snapshots(model.folder)))
        inspection.write(path, learner, stored, features)
    for change, policy in plan.under.items():
        from pipeline.evaluate.changed import Changed  # brings albumentations

        changed = Changed(stored, policy.online, learner.settings)
        tables[f"test under {change}"], _ = predict.rows(answer, changed, job.task, keep=0)
    for split, table in tables.items():
        pq.write_table(table, path / f"{split.replace(' ', '-')}.parquet")
    measured, drawn = _scores(job.task, tables, learner.settings, plan)
    store.write_json(path / "scores.json", measured)
    pq.write_table(pa.table(drawn), path / "draws.parquet")
    sampling = {"resamples": plan.settings.resamples, "seed": SEED}
    if trivial := baseline.measure(job.task, prepared, learner.settings, plan.asked, **sampling):
        store.write_json(path / baseline.FILE, trivial)
    if plan.gradients:
        store.write_json(path / "gradients.json", gradients.measure(model.folder, job, prepared))
    protocol = {
        "dataset": store.content_digest(prepared),
        "model": store.content_digest(model.folder),
        "images": {split: len(table) for split, table in tables.items()},
        "size": learner.settings.size,
        "fit": learner.settings.fit,
        "intervals": f"95 % percentile bootstrap over groups, {plan.settings.resamples} resamples, seed {SEED}",
    }
    store.write_json(path / "protocol.json", protocol)


def _measure_speed(root: Path, name: str, job: Job, mark: str, device: str = "cpu") -> None:
    """Put the model's speed into reports/speed.json, unless what stands there is of this very evaluation."""
    from pipeline import checkpoint
    from pipeline.evaluate import predict, speed

    speeds = store.read_json(root / "reports/speed.json", {})
    entry, key = speeds.get(name, {}), speed.key(mark, device)
    if entry.get("evaluation") == key and entry.get("latency_ms") is not None:
        return
    learner, _ = checkpoint.load(root / "models" / name, device)
    stored = shards.split(root / "data/prepared" / job.dataset, "test")
    measured = speed.kept_or_measured(root, mark, predict.predictor(learner, job.task), stored, device)
    if "not_measured" in measured:
        log.info(f"evaluate: {name:<16} latency not measured: {measured['not_measured']}")
    trained = {field: value for field, value in entry.items() if field.startswith("train_")}
    speeds[name] = {**trained, **measured, "evaluation": key}
    store.write_json(root / "reports/speed.json", speeds)


def _scores(
    task_name: str, tables: dict[str, pa.Table], settings: Any, plan: Plan
) -> tuple[dict[str, Any], dict[str, bootstrap.Resampled]]:
    """Flat test scores with their intervals, and the primary score on val, by which candidates are ranked.

    Undefined scores are null, and `undefined` has the reasons. Second the resamples that the intervals are of, without
    those of single classes (`recall[3]`).
    """
    task = plugins.load("tasks", task_name)

    def measured(table: pa.Table) -> tuple[dict[str, float], dict[str, Any]]:
        scorer, groups = task.scorer(table, settings, **plan.asked), table["group"].to_pylist()
        drawn = bootstrap.resample_scores(scorer, groups, number=plan.settings.resamples, seed=SEED)
        return scorer(np.ones(len(table), np.int64)), drawn

    values, drawn = measured(tables["test"])
    primary = bootstrap.primary(task.PRIMARY, values)
    for name, table in tables.items():
        if name.startswith("test under "):
            metric = f"{primary}{name.removeprefix('test')}"
            changed, resampled = measured(table)
            values[metric], drawn[metric] = changed[primary], resampled[primary]
    val = task.scorer(tables["val"], settings, **plan.asked)(np.ones(len(tables["val"]), np.int64))
    result: dict[str, Any] = {"primary": primary, "higher_is_better": task.HIGHER_IS_BETTER, **plan.asked}
    result |= {f"val_{primary}": scores.rounded(val[primary]), **_with_intervals(values, drawn)}
    reasons = {
        metric: scores.reason(task_name, metric.removeprefix("val_"), "val" if metric == f"val_{primary}" else "test")
        for metric in (f"val_{primary}", *values)
        if result[metric] is None
    }
    result |= {scores.UNDEFINED: reasons} if reasons else {}
    return result, {name: values for name, values in drawn.items() if "[" not in name or name == primary}


def _with_intervals(values: dict[str, float], drawn: dict[str, bootstrap.Resampled]) -> dict[str, float | None]:
    """Each score with the ends of its interval; null where the score is undefined."""
    bounds = bootstrap.intervals(drawn)
    result: dict[str, float | None] = {}
    for metric, value in values.items():
        result[metric] = scores.rounded(value)
        bounded = np.isfinite(value) and metric in bounds
        low, high = bounds[metric] if bounded else (None, None)
        # resampling raises a biased score such as ECE, so the interval is widened to contain the value
        result[f"{metric}_low"] = None if low is None else scores.rounded(min(low, value))
        result[f"{metric}_high"] = None if high is None else scores.rounded(max(high, value))
    return result
