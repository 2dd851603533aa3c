"""The register stage: every measured model becomes one MLflow run and one version, and the best the champion.

What a study compares has a run but no version: it answers a question and is no candidate.

Always run and cheap: what MLflow holds is found by fingerprint, and what a lost store lacks is made again
from models/, evaluations/ and metrics/. `reports/registered.json` holds fingerprints and aliases alone, so
it is the same on every machine.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline import store, tracking
from pipeline.evaluate import scoring
from pipeline.params import Evaluate, Job, Params
from pipeline.register import versions
from pipeline.terminal import tell
from pipeline.tracking import FINGERPRINT, SYNCED
from pipeline.train import history, ledger

DECISION, AGAINST = "convline.decision", "convline.compared"


def run(params: Params, root: Path) -> None:
    """Bring MLflow up to date with what was trained and measured."""
    reports = root / "reports/registered.json"
    before = store.read_json(reports, {})
    client = tracking.client(root)
    tracking.end_orphans(client, lambda mark: ledger.held(root / ".work/jobs" / mark))
    groups: dict[str, dict[str, Job]] = {}
    compared: dict[str, dict[str, Job]] = {}
    for name, job in params.selected().items():
        if (root / "metrics" / f"{name}.json").exists():
            kind = groups if params.study(name) is None else compared
            kind.setdefault(f"{job.dataset}-{job.task}", {})[name] = job
    registered = {}
    with store.locked(root / ".work/register.lock", "register", wait=True):
        for model, jobs in sorted(groups.items()):
            group = Group(client, root, model, jobs, params.evaluate)
            registered[model] = group.settle(before.get(model, {}))
            news = "as before" if registered[model] == before.get(model) else registered[model]["decision"]["text"]
            tell(f"register: {model}: champion {registered[model]['champion']['job']}, {news}")
        known = {mark for entry in registered.values() for mark in entry["models"]}
        for model, jobs in sorted(compared.items()):
            known |= Group(client, root, model, jobs, params.evaluate).record(known)
    store.write_json(reports, registered)


class Group:
    """The models of one task on one dataset: one registered model in MLflow, with its aliases."""

    def __init__(self, client: Any, root: Path, model: str, jobs: dict[str, Job], settings: Evaluate) -> None:
        self.client, self.root, self.model, self.jobs = client, root, model, jobs
        self.metrics = {name: store.read_json(root / "metrics" / f"{name}.json") for name in jobs}
        self.marks = {name: store.manifest(root / "models" / name)["fingerprint"] for name in jobs}
        job = next(iter(jobs.values()))
        self.dataset, self.task = job.dataset, job.task
        self.asked = scoring.arguments(settings, job.task)

    def settle(self, before: dict[str, Any]) -> dict[str, Any]:
        """Runs, versions and aliases; returns this model's part of registered.json."""
        made = {mark: self._version(name) for name, mark in self.marks.items()}
        first = self._first()
        present = self._alias("champion") or self._from_before(before)
        decision: dict[str, Any] = {"text": "the first: there was none before"}
        if present is None:
            self._promote(made[self.marks[first]])
        elif present.tags[FINGERPRINT] == self.marks[first]:
            decision = before.get("decision", {"text": "is the best on val, and is the champion already"})
        else:
            decision = self._compare(first, made[self.marks[first]], present)
        aliases = {alias: self._entry(alias) for alias in ("champion", "challenger", "previous")}
        models = {mark: name for name, mark in self.marks.items()}
        return {**aliases, "models": models, "decision": decision}

    def record(self, known: set[str]) -> set[str]:
        """Runs alone, of what is not `known` under another name; returns the fingerprints."""
        first = {mark: name for name, mark in reversed(self.marks.items()) if mark not in known}
        for name in first.values():
            self._run(name)
        return set(first)

    def _first(self) -> str:
        """The candidate that is best on val; the earlier in params.yaml of equals."""
        sign = 1 if next(iter(self.metrics.values()))["higher_is_better"] else -1
        return max(self.jobs, key=lambda name: sign * self.metrics[name][f"val_{self.metrics[name]['primary']}"])

    def _version(self, name: str) -> Any:
        """The job's version, after its run is complete in MLflow."""
        run = self._run(name)
        version = versions.ensure(run, self.model, self.marks[name], self.root / "models" / name, self.task)
        if version.description is None:
            self.client.update_model_version(self.model, version.version, self._words(name))
        return version

    def _run(self, name: str) -> tracking.Run:
        """The job's run, complete and ended."""
        run = tracking.run(self.client, self.root, name, self.marks[name], self.jobs[name].model_dump())
        evaluated = store.content_digest(self.root / "evaluations" / name)
        if run.tags().get(SYNCED) != evaluated:
            self._log(run, name)
            self.client.set_tag(run.run_id, SYNCED, evaluated)
            run.end("FINISHED")
        return run

    def _words(self, name: str) -> str:
        """`lenet5: top1 0.9883 [0.9738, 0.9971] on test`"""
        metrics = self.metrics[name]
        primary = metrics["primary"]
        low, high = metrics[f"{primary}_low"], metrics[f"{primary}_high"]
        return f"{name}: {primary} {metrics[primary]:.4f} [{low:.4f}, {high:.4f}] on test"

    def _log(self, run: tracking.Run, name: str) -> None:
        from pipeline.models import _stored  # brings torch

        metrics = self.metrics[name]
        run.log_history(history.read(self.root / "models" / name / history.FILE))
        plain = ("job", "task", "architecture", "dataset", "primary", "higher_is_better")
        totals = {f"test/{key}": value for key, value in metrics.items() if key not in plain}
        parameters = store.read_json(self.root / "reports/parameters.json", {})
        counted = parameters.get(self.jobs[name].architecture, {}).get("jobs", {}).get(name, {})
        speed = store.read_json(self.root / "reports/speed.json", {}).get(name, {})
        totals["model/parameters"] = counted.get("parameters")
        totals["time/train_s"], totals["time/latency_ms"] = speed.get("train_s"), speed.get("latency_ms")
        totals["throughput/images_per_s"] = speed.get("train_images_per_s")
        run.log_totals(totals)
        run.log_dataset(self.dataset, store.content_digest(self.root / "data/prepared" / self.dataset))
        run.log_pictures(self.root / "evaluations" / name)
        run.log_snapshots(_stored.snapshots(self.root / "models" / name))

    def _alias(self, alias: str) -> Any | None:
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_model_version_by_alias(self.model, alias)
        except MlflowException:
            return None

    def _entry(self, alias: str) -> dict[str, str] | None:
        version = self._alias(alias)
        if version is None:
            return None
        run = self.client.get_run(version.run_id)
        return {"job": run.info.run_name, "fingerprint": version.tags[FINGERPRINT]}

    def _from_before(self, before: dict[str, Any]) -> Any | None:
        """After a lost store: the champion that registered.json remembers, if its model is still at hand."""
        entry = before.get("champion")
        if entry is None:
            return None
        mark = entry["fingerprint"]
        folders = [self.root / "models" / name for name, known in self.marks.items() if known == mark]
        kept = self.root / ".work/jobs" / mark / "model"
        folder = next((path for path in [*folders, kept] if store.holds(path, mark)), None)
        if folder is None:
            tell(f"register: {self.model}: the former champion {entry['job']} is lost; choosing anew")
            return None
        settings = {"dataset": self.dataset, "task": self.task, **store.read_json(folder / "model.json")}
        run = tracking.run(self.client, self.root, entry["job"], mark, settings)
        version = versions.ensure(run, self.model, mark, folder, self.task)
        self._promote(version)
        return version

    def _promote(self, version: Any) -> None:
        present = self._alias("champion")
        if present is not None and present.version != version.version:
            self.client.set_registered_model_alias(self.model, "previous", present.version)
        self.client.set_registered_model_alias(self.model, "champion", version.version)

    def _compare(self, name: str, version: Any, present: Any) -> dict[str, Any]:
        """The decision between the first candidate and the champion; made once for the same pair and test set."""
        from pipeline.models import _published, _stored
        from pipeline.register import champion

        digest = store.content_digest(self.root / "data/prepared" / self.dataset)
        pair = ":".join([present.tags[FINGERPRINT], digest, *(f"{name}={self.asked[name]}" for name in self.asked)])
        if version.tags.get(AGAINST) == pair:
            decision: dict[str, Any] = json.loads(version.tags[DECISION])
            return decision
        challenger = pq.read_table(self.root / "evaluations" / name / "test.parquet")
        settings = _stored.stored_settings(store.read_json(self.root / "models" / name / _stored.DESCRIPTION))
        uri = f"models:/{self.model}/{present.version}"
        extractor = self.jobs[name].extractor
        judge = None if extractor is None else _stored.load(_published.extractor(self.root, extractor)[0])[0]
        old = champion.rows(self.root, self.dataset, self.task, uri, settings, judge)
        decision = champion.decide(challenger, old, self.task, settings, **self.asked)
        decision["text"] = f"{name} {decision['text']}"
        self.client.set_model_version_tag(self.model, version.version, DECISION, store.canonical(decision).decode())
        self.client.set_model_version_tag(self.model, version.version, AGAINST, pair)
        self.client.set_registered_model_alias(self.model, "challenger", version.version)
        if decision["promoted"]:
            self._promote(version)
        return decision
