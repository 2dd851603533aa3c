"""The register stage: every evaluated model gets one MLflow run and one version, and the best becomes the champion.

A study's models have runs but no versions, because they are no candidates.

The stage is cheap and always runs: runs and versions are looked up by fingerprint, and those that a lost database lacks
are made again from models/, evaluations/ and metrics/. `reports/registered.json` holds fingerprints, aliases and
scores only, so it is equal on every machine. Registered models stay in it when their jobs leave the roster.
"""

import logging
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline import registered, scores, store, tracking
from pipeline.evaluate import scoring
from pipeline.metric_names import renamed_scores, renamed_text
from pipeline.params import Evaluate, Job, Params
from pipeline.register import decisions, ranking, trust, versions
from pipeline.register.decisions import DECISION, PROMOTED
from pipeline.tracking import FINGERPRINT, SYNCED
from pipeline.train import history, job_state

log = logging.getLogger(__name__)


def run(params: Params, root: Path) -> None:
    """Bring MLflow up to date with the trained and evaluated models."""
    before = registered.entries(root)
    client = tracking.client(root)
    groups: dict[str, dict[str, Job]] = {}
    compared: dict[str, dict[str, Job]] = {}
    for name, job in params.with_results().items():
        if (root / "metrics" / f"{name}.json").exists():
            kind = groups if params.study(name) is None else compared
            kind.setdefault(f"{job.dataset}-{job.task}", {})[name] = job
    entries: dict[str, dict[str, Any]] = {}
    with store.locked(root / ".work/register.lock", "register", wait=True):
        keys = trust.keys(root)
        trust.begin(client, root, keys)
        tracking.end_orphans(client, lambda fingerprint: job_state.held(root / ".work/jobs" / fingerprint))
        for model, jobs in sorted(groups.items()):
            group = Group(client, root, keys, model, jobs, params.evaluate)
            entries[model] = group.update(before.get(model, {}))
            news = decisions.news(before.get(model), entries[model])
            holder = entries[model]["champion"]
            champion = f"champion {holder['job']}" if holder else "no champion"
            log.info(f"register: {model}: {champion}, {news}")
        ours = {model for model, version in versions.champions(client).items() if trust.signed(keys, version)}
        for model in sorted((ours | set(before)) - set(groups)):
            entry = Group(client, root, keys, model, {}, params.evaluate).keep(before.get(model, {}))
            if entry is not None:
                entries[model], name = entry, entry["champion"]["job"]
                decision = entry["decision"]
                news = "as before" if decision.get("trusted", True) else decision["text"]
                log.info(f"register: {model}: champion {name}, {news}; no candidate in the roster")
        recorded = {fingerprint for entry in entries.values() for fingerprint in entry["models"]}
        for model, jobs in sorted(compared.items()):
            recorded |= Group(client, root, keys, model, jobs, params.evaluate).record(recorded)
    store.write_json(root / registered.FILE, entries)


class Group:
    """The models of one task on one dataset: one registered model in MLflow, with its aliases."""

    def __init__(
        self, client: Any, root: Path, keys: list[bytes], model: str, jobs: dict[str, Job], settings: Evaluate
    ) -> None:
        self.client, self.root, self.keys, self.model, self.jobs = client, root, keys, model, jobs
        self.metrics = {name: renamed_scores(store.read_json(root / "metrics" / f"{name}.json")) for name in jobs}
        self.fingerprints = {name: store.manifest(root / "models" / name)["fingerprint"] for name in jobs}
        self.dataset, _, self.task = model.rpartition("-")
        self.score_arguments = scoring.arguments(settings, self.task)

    def update(self, before: dict[str, Any]) -> dict[str, Any]:
        """Update runs, versions and aliases; returns this model's entry of registered.json."""
        made = {fingerprint: self._version(name) for name, fingerprint in self.fingerprints.items()}
        first = ranking.best_on_val(self.metrics)
        best = None if first is None else made[self.fingerprints[first]]
        present = self._alias("champion") or self._from_before(before)
        decision: dict[str, Any] | None = None
        if first is None or best is None:
            decision = ranking.unranked(self.metrics)
        elif present is None:
            self._set_aliases(champion=best)
        elif present.version == best.version:
            self._note_promoted(best, decisions.stored(best))
            decision = self._last(present, before)
        else:
            decision = self._decide(first, best, present)
        aliases = {alias: self._entry(alias) for alias in registered.ROLES}
        models = {fingerprint: name for name, fingerprint in self.fingerprints.items()}
        shown = {key: value for key, value in (decision or decisions.ALREADY).items() if key != "against"}
        return {**aliases, "models": models, "decision": shown, "score": self._score(before)}

    def keep(self, before: dict[str, Any]) -> dict[str, Any] | None:
        """This model's entry when none of its jobs is in the roster: unchanged, or None if its champion is lost."""
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
        elif not rest["decision"].get("trusted", True):  # it was signed since then
            rest["decision"] = decisions.ALREADY
        return {**rest, **aliases, "score": self._score(before)}

    def _score(self, before: dict[str, Any]) -> str:
        """The champion's last score, which may be from before its job left the roster."""
        version = self._alias("champion")
        if version is None or not self._trusted(version):
            return "not known"
        fingerprint = version.tags.get(FINGERPRINT)
        for name in (name for name, other in self.fingerprints.items() if other == fingerprint):
            return scores.words(self.metrics[name])
        if "score" in before and (before.get("champion") or {}).get("fingerprint") == fingerprint:
            return str(before["score"])
        return renamed_text(str(version.description or "not known"))

    def record(self, recorded: set[str]) -> set[str]:
        """Update the runs, without versions, of fingerprints that are not `recorded` yet; returns the fingerprints."""
        pairs = reversed(self.fingerprints.items())
        first = {fingerprint: name for name, fingerprint in pairs if fingerprint not in recorded}
        for name in first.values():
            self._run(name)
        return set(first)

    def _version(self, name: str) -> Any:
        """The job's version, after completing its run in MLflow."""
        run = self._run(name)
        what = {"task": self.task, "words": self._words(name)}
        version = versions.ensure(run, self.keys, self.model, self.root / "models" / name, what, self.root)
        logged = versions.logged_id(version)
        if logged is not None:
            run.log_totals(self._totals(name), logged)
        return version

    def _run(self, name: str) -> tracking.Run:
        """The job's run, completed and ended."""
        fingerprint = self.fingerprints[name]
        run = tracking.run(self.client, self.root, name, fingerprint, self.jobs[name].model_dump())
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
        if stored.info.status != "FINISHED" and not job_state.held(self.root / ".work/jobs" / fingerprint):
            run.end("FINISHED")
        return run

    def _words(self, name: str) -> str:
        """`lenet5: top1 0.9883 [0.9738, 0.9971] on test`"""
        return f"{name}: {scores.words(self.metrics[name], before='', after=' on test')}"

    def _log_training(self, run: tracking.Run, name: str) -> None:
        """Log the learning curves, and the pictures of the training."""
        from pipeline import checkpoint  # brings torch

        run.log_history(history.read(self.root / "models" / name / history.FILE))
        run.log_snapshots(checkpoint.snapshots(self.root / "models" / name))

    def _totals(self, name: str) -> dict[str, float | None]:
        """Final metrics of a job, by their names in MLflow."""
        plain = ("job", "task", "architecture", "dataset", "primary", "higher_is_better", scores.UNDEFINED)
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
        return trust.signed(self.keys, version) is not None

    def _refused(self, version: Any) -> dict[str, Any]:
        return {"text": trust.refused(version, "is not signed with a key of this project"), "trusted": False}

    def _entry(self, alias: str) -> dict[str, str] | None:
        """The job and fingerprint of an alias; of an unsigned version its number, since its tags can't be trusted."""
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
        """After a lost database: the champion in registered.json, registered again if its model is still stored."""
        entry = before.get("champion")
        if entry is None or not entry["fingerprint"]:
            return None
        fingerprint = entry["fingerprint"]
        names = [name for name, other in self.fingerprints.items() if other == fingerprint]
        folder = registered.folder(self.root, names[0] if names else entry["job"], fingerprint)
        if folder is None:
            log.info(f"register: {self.model}: the former champion {entry['job']} is lost; a new one is chosen")
            return None
        settings = {"dataset": self.dataset, "task": self.task, **store.read_json(folder / "model.json")}
        run = tracking.run(self.client, self.root, entry["job"], fingerprint, settings)
        what = {"task": self.task, "words": str(entry["job"])}
        version = versions.ensure(run, self.keys, self.model, folder, what, self.root)
        self._set_aliases(champion=version)
        return version

    def _set_aliases(self, **wanted: Any) -> None:
        """Set these aliases, in this order, where they differ."""
        for alias, version in wanted.items():
            present = self._alias(alias)
            if present is None or present.version != version.version:
                self.client.set_registered_model_alias(self.model, alias, version.version)

    def _last(self, present: Any, before: dict[str, Any]) -> dict[str, Any] | None:
        """The last decision, if it made or kept `present` the champion; else None."""
        challenger = self._alias("challenger")
        if challenger is not None and self._trusted(challenger) and (decision := decisions.stored(challenger)):
            return decision if decision["promoted"] == (challenger.version == present.version) else None
        remembered = before.get("decision", {})
        same = (before.get("champion") or {}).get("fingerprint") == present.tags[FINGERPRINT]
        return remembered if same and "promoted" in remembered else None

    def _decide(self, name: str, version: Any, present: Any) -> dict[str, Any]:
        """Compare the best candidate with the champion, and set the aliases; a refusal if the champion is untrusted."""
        if not self._trusted(present):
            return self._refused(present)
        try:
            decision = self._compare(name, version, present)
        except trust.UntrustedError as error:
            return {"text": str(error), "trusted": False}
        if not decision["promoted"]:
            self._set_aliases(challenger=version)
        elif version.tags.get(PROMOTED) == decision["against"]:
            text = f"{name} was champion before and was demoted by hand"
            decision = {**decision, "text": text, "promoted": False}
        else:  # the champion last: until it is set, the next run completes the decision
            self._set_aliases(challenger=version, previous=present, champion=version)
            self._note_promoted(version, decision)
        return decision

    def _note_promoted(self, version: Any, decision: dict[str, Any] | None) -> None:
        """Note that a promotion was carried out, so that it is not repeated after a person undid it."""
        if decision and decision["promoted"] and version.tags.get(PROMOTED) != decision["against"]:
            self.client.set_model_version_tag(self.model, version.version, PROMOTED, decision["against"])

    def _compare(self, name: str, version: Any, present: Any) -> dict[str, Any]:
        """The decision between the best candidate and the champion, made once per pair and test set."""
        from pipeline import checkpoint, device, pretrained_weights
        from pipeline.register import champion

        digest = store.content_digest(self.root / "data/prepared" / self.dataset)
        against = present.tags.get(FINGERPRINT) or f"version {present.version}"
        pair = ":".join([against, digest, *(f"{name}={value}" for name, value in self.score_arguments.items())])
        made = decisions.stored(version)
        if made is not None and made["against"] == pair:
            return made
        challenger = pq.read_table(self.root / "evaluations" / name / "test.parquet")
        settings = checkpoint.stored_settings(store.read_json(self.root / "models" / name / checkpoint.DESCRIPTION))
        extractor = self.jobs[name].extractor
        judge = None
        if extractor is not None:
            judge, _ = checkpoint.load(pretrained_weights.extractor(self.root, extractor)[0], device.choose())
        with tempfile.TemporaryDirectory() as folder:
            copy = str(trust.verified(self.client, self.keys, present, Path(folder)))
            old = champion.rows(self.root, self.dataset, self.task, copy, settings, judge)
        decision = champion.decide(challenger, old, self.task, settings, **self.score_arguments)
        decision |= {"text": f"{name} {decision['text']}", "against": pair}
        self.client.set_model_version_tag(self.model, version.version, DECISION, store.canonical(decision).decode())
        return decision
