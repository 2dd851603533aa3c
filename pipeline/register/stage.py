"""The register stage: every measured model becomes one MLflow run and one version, and the best the champion.

What a study compares has a run but no version: it answers a question and is no candidate.

Always run and cheap: what MLflow holds is found by fingerprint, and what a lost store lacks is made again
from models/, evaluations/ and metrics/. `reports/registered.json` holds fingerprints, aliases and scores
alone, so it is the same on every machine. What is registered stays in it when its jobs leave the roster.
"""

import logging
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline import registered, store, tracking
from pipeline.evaluate import scoring
from pipeline.evaluate.stage import words
from pipeline.params import Evaluate, Job, Params
from pipeline.register import decisions, trust, versions
from pipeline.register.decisions import DECISION, PROMOTED
from pipeline.tracking import FINGERPRINT, SYNCED
from pipeline.train import history, job_state

log = logging.getLogger(__name__)


def run(params: Params, root: Path) -> None:
    """Bring MLflow up to date with what was trained and measured."""
    before = registered.entries(root)
    client = tracking.client(root)
    groups: dict[str, dict[str, Job]] = {}
    compared: dict[str, dict[str, Job]] = {}
    for name, job in params.selected().items():
        if (root / "metrics" / f"{name}.json").exists():
            kind = groups if params.study(name) is None else compared
            kind.setdefault(f"{job.dataset}-{job.task}", {})[name] = job
    entries: dict[str, dict[str, Any]] = {}
    with store.locked(root / ".work/register.lock", "register", wait=True):
        known = trust.keys(root)
        trust.begin(client, root, known)
        tracking.end_orphans(client, lambda mark: job_state.held(root / ".work/jobs" / mark))
        for model, jobs in sorted(groups.items()):
            group = Group(client, root, known, model, jobs, params.evaluate)
            entries[model] = group.settle(before.get(model, {}))
            news = decisions.news(before.get(model), entries[model])
            log.info(f"register: {model}: champion {entries[model]['champion']['job']}, {news}")
        ours = {model for model, version in versions.champions(client).items() if trust.signed(known, version)}
        for model in sorted((ours | set(before)) - set(groups)):
            kept = Group(client, root, known, model, {}, params.evaluate).keep(before.get(model, {}))
            if kept is not None:
                entries[model], name = kept, kept["champion"]["job"]
                decision = kept["decision"]
                news = "as before" if decision.get("trusted", True) else decision["text"]
                log.info(f"register: {model}: champion {name}, {news}; no job of the roster competes")
        marks = {mark for entry in entries.values() for mark in entry["models"]}
        for model, jobs in sorted(compared.items()):
            marks |= Group(client, root, known, model, jobs, params.evaluate).record(marks)
    store.write_json(root / registered.FILE, entries)


class Group:
    """The models of one task on one dataset: one registered model in MLflow, with its aliases."""

    def __init__(
        self, client: Any, root: Path, known: list[bytes], model: str, jobs: dict[str, Job], settings: Evaluate
    ) -> None:
        self.client, self.root, self.known, self.model, self.jobs = client, root, known, model, jobs
        self.metrics = {name: store.read_json(root / "metrics" / f"{name}.json") for name in jobs}
        self.marks = {name: store.manifest(root / "models" / name)["fingerprint"] for name in jobs}
        self.dataset, _, self.task = model.rpartition("-")
        self.asked = scoring.arguments(settings, self.task)

    def settle(self, before: dict[str, Any]) -> dict[str, Any]:
        """Runs, versions and aliases; returns this model's part of registered.json."""
        made = {mark: self._version(name) for name, mark in self.marks.items()}
        first = self._first()
        best = made[self.marks[first]]
        present = self._alias("champion") or self._from_before(before)
        decision: dict[str, Any] | None = None
        if present is None:
            self._name(champion=best)
        elif present.version == best.version:
            self._note_promoted(best, decisions.stored(best))
            decision = self._last(present, before)
        else:
            decision = self._decide(first, best, present)
        aliases = {alias: self._entry(alias) for alias in registered.ROLES}
        models = {mark: name for name, mark in self.marks.items()}
        told = {key: value for key, value in (decision or decisions.ALREADY).items() if key != "against"}
        return {**aliases, "models": models, "decision": told, "score": self._score(before)}

    def keep(self, before: dict[str, Any]) -> dict[str, Any] | None:
        """This model's part where none of its jobs is in the roster: as it was; None where its champion is lost."""
        if self._alias("champion") is None and self._from_before(before) is None:
            return None
        aliases = {alias: self._entry(alias) for alias in registered.ROLES}
        models = {
            holder["fingerprint"]: holder["job"] for holder in aliases.values() if holder and holder["fingerprint"]
        }
        rest = {"models": models, "decision": decisions.ALREADY} | before
        present = self._alias("champion")
        if not self._trusted(present):
            rest["decision"] = self._refused(present)
        elif not rest["decision"].get("trusted", True):  # it has been signed since
            rest["decision"] = decisions.ALREADY
        return {**rest, **aliases, "score": self._score(before)}

    def _score(self, before: dict[str, Any]) -> str:
        """The champion's score as it was last measured, which may be before its job left the roster."""
        version = self._alias("champion")
        if version is None or not self._trusted(version):
            return "not known"
        mark = version.tags.get(FINGERPRINT)
        for name in (name for name, known in self.marks.items() if known == mark):
            return words(self.metrics[name])
        if "score" in before and (before.get("champion") or {}).get("fingerprint") == mark:
            return str(before["score"])
        return str(version.description or "not known")

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
        what = {"task": self.task, "words": self._words(name)}
        version = versions.ensure(run, self.known, self.model, self.root / "models" / name, what, self.root)
        logged = versions.logged_id(version)
        if logged is not None:
            run.log_totals(self._totals(name), logged)
        return version

    def _run(self, name: str) -> tracking.Run:
        """The job's run, complete and ended."""
        mark = self.marks[name]
        run = tracking.run(self.client, self.root, name, mark, self.jobs[name].model_dump())
        stored = run.stored()
        evaluated = store.content_digest(self.root / "evaluations" / name)
        anew = stored.data.tags.get(SYNCED) != evaluated
        if anew:
            self._log_training(run, name)
        run.log_totals(self._totals(name))
        run.log_dataset(self.dataset, store.content_digest(self.root / "data/prepared" / self.dataset))
        run.log_pictures(self.root / "evaluations" / name, anew=anew)
        if anew:
            self.client.set_tag(run.run_id, SYNCED, evaluated)
        if stored.info.status != "FINISHED" and not job_state.held(self.root / ".work/jobs" / mark):
            run.end("FINISHED")
        return run

    def _words(self, name: str) -> str:
        """`lenet5: top1 0.9883 [0.9738, 0.9971] on test`"""
        metrics = self.metrics[name]
        primary = metrics["primary"]
        low, high = metrics[f"{primary}_low"], metrics[f"{primary}_high"]
        return f"{name}: {primary} {metrics[primary]:.4f} [{low:.4f}, {high:.4f}] on test"

    def _log_training(self, run: tracking.Run, name: str) -> None:
        """Curves, and the pictures of a training."""
        from pipeline import checkpoint  # brings torch

        run.log_history(history.read(self.root / "models" / name / history.FILE))
        run.log_snapshots(checkpoint.snapshots(self.root / "models" / name))

    def _totals(self, name: str) -> dict[str, float | None]:
        """Final numbers of a job, by the names that MLflow shows."""
        plain = ("job", "task", "architecture", "dataset", "primary", "higher_is_better")
        totals = {f"test/{key}": value for key, value in self.metrics[name].items() if key not in plain}
        parameters = store.read_json(self.root / "reports/parameters.json", {})
        counted = parameters.get(self.jobs[name].architecture, {}).get("jobs", {}).get(name, {})
        speed = store.read_json(self.root / "reports/speed.json", {}).get(name, {})
        totals["model/parameters"] = counted.get("parameters")
        totals["time/train_s"], totals["time/latency_ms"] = speed.get("train_s"), speed.get("latency_ms")
        totals["throughput/images_per_s"] = speed.get("train_images_per_s")
        return totals

    def _alias(self, alias: str) -> Any | None:
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_model_version_by_alias(self.model, alias)
        except MlflowException:
            return None

    def _trusted(self, version: Any) -> bool:
        return trust.signed(self.known, version) is not None

    def _refused(self, version: Any) -> dict[str, Any]:
        return {"text": trust.refused(version, "is not signed with a key of this project"), "trusted": False}

    def _entry(self, alias: str) -> dict[str, str] | None:
        """Who holds an alias; of a version that nobody signed, its number, as its tags may say anything."""
        from mlflow.exceptions import MlflowException

        version = self._alias(alias)
        if version is None:
            return None
        unnamed = f"version {version.version}"
        if not self._trusted(version):
            return {"job": unnamed, "fingerprint": ""}
        try:
            name = self.client.get_run(version.run_id).info.run_name if version.run_id else unnamed
        except MlflowException:
            name = unnamed
        return {"job": name, "fingerprint": version.tags.get(FINGERPRINT, "")}

    def _from_before(self, before: dict[str, Any]) -> Any | None:
        """After a lost store: the champion that registered.json remembers, if its model is still at hand."""
        entry = before.get("champion")
        if entry is None or not entry["fingerprint"]:
            return None
        mark = entry["fingerprint"]
        names = [name for name, known in self.marks.items() if known == mark]
        folder = registered.folder(self.root, names[0] if names else entry["job"], mark)
        if folder is None:
            log.warning(f"register: {self.model}: the former champion {entry['job']} is lost; choosing anew")
            return None
        settings = {"dataset": self.dataset, "task": self.task, **store.read_json(folder / "model.json")}
        run = tracking.run(self.client, self.root, entry["job"], mark, settings)
        what = {"task": self.task, "words": str(entry["job"])}
        version = versions.ensure(run, self.known, self.model, folder, what, self.root)
        self._name(champion=version)
        return version

    def _name(self, **wanted: Any) -> None:
        """Give versions these aliases, in this order, where they have others."""
        for alias, version in wanted.items():
            present = self._alias(alias)
            if present is None or present.version != version.version:
                self.client.set_registered_model_alias(self.model, alias, version.version)

    def _last(self, present: Any, before: dict[str, Any]) -> dict[str, Any] | None:
        """The last decision, of whose words `present` is the champion; None where there was none."""
        challenger = self._alias("challenger")
        if challenger is not None and self._trusted(challenger) and (decision := decisions.stored(challenger)):
            return decision if decision["promoted"] == (challenger.version == present.version) else None
        remembered = before.get("decision", {})
        same = (before.get("champion") or {}).get("fingerprint") == present.tags[FINGERPRINT]
        return remembered if same and "promoted" in remembered else None

    def _decide(self, name: str, version: Any, present: Any) -> dict[str, Any]:
        """What comes of the first candidate beside another champion, as far as that one's code may run."""
        if not self._trusted(present):
            return self._refused(present)
        try:
            decision = self._compare(name, version, present)
        except trust.UntrustedError as error:
            return {"text": str(error), "trusted": False}
        if not decision["promoted"]:
            self._name(challenger=version)
        elif version.tags.get(PROMOTED) == decision["against"]:
            text = f"{name} was the champion already, and was taken back by hand"
            decision = {**decision, "text": text, "promoted": False}
        else:  # the champion last: until it is named, the next run takes the decision up again
            self._name(challenger=version, previous=present, champion=version)
            self._note_promoted(version, decision)
        return decision

    def _note_promoted(self, version: Any, decision: dict[str, Any] | None) -> None:
        """Say that a promotion was carried out, so that one which a person takes back is not made again."""
        if decision and decision["promoted"] and version.tags.get(PROMOTED) != decision["against"]:
            self.client.set_model_version_tag(self.model, version.version, PROMOTED, decision["against"])

    def _compare(self, name: str, version: Any, present: Any) -> dict[str, Any]:
        """The decision between the first candidate and the champion; made once for the same pair and test set."""
        from pipeline import checkpoint, pretrained_weights
        from pipeline.register import champion

        digest = store.content_digest(self.root / "data/prepared" / self.dataset)
        against = present.tags.get(FINGERPRINT) or f"version {present.version}"
        pair = ":".join([against, digest, *(f"{name}={self.asked[name]}" for name in self.asked)])
        made = decisions.stored(version)
        if made is not None and made["against"] == pair:
            return made
        challenger = pq.read_table(self.root / "evaluations" / name / "test.parquet")
        settings = checkpoint.stored_settings(store.read_json(self.root / "models" / name / checkpoint.DESCRIPTION))
        extractor = self.jobs[name].extractor
        judge = None if extractor is None else checkpoint.load(pretrained_weights.extractor(self.root, extractor)[0])[0]
        with tempfile.TemporaryDirectory() as folder:
            copy = str(trust.verified(self.client, self.known, present, Path(folder)))
            old = champion.rows(self.root, self.dataset, self.task, copy, settings, judge)
        decision = champion.decide(challenger, old, self.task, settings, **self.asked)
        decision |= {"text": f"{name} {decision['text']}", "against": pair}
        self.client.set_model_version_tag(self.model, version.version, DECISION, store.canonical(decision).decode())
        return decision
