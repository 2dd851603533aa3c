"""The train loop, for any learner and task, on one process or a group of them.

Equal settings, data, code and number of ranks give equal bytes, also after interruptions: random streams are seeded
by epoch and rank, and the checkpoint after each epoch holds all other state.
"""

import contextlib
import copy
import math
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pipeline import bootstrap, checkpoint, plugins, processes, sample, shards, store
from pipeline.augment import joined
from pipeline.augment.fit import Fit, restore
from pipeline.images import encode_png
from pipeline.learners.base import Learner
from pipeline.learners.frozen import Frozen
from pipeline.seeds import seed_of
from pipeline.train import features, history, loader, prefetch, record, view
from pipeline.train.job_state import JobSpec, JobState, State, number_of_parts
from pipeline.train.parts import explain_shortage, is_out_of_memory
from pipeline.train.ranks import Ranks
from pipeline.train.step import JobFailedError, Stepper

PROGRESS_EVERY_S = 1.0
#: about how many pictures of the training are stored
SNAPSHOTS = 24


def train(job_spec: JobSpec, ranks: Ranks, state: State | None = None) -> None:
    """Train a job from its last checkpoint to the end, and write `job_spec.model`; `state` is its file by default."""
    state = state or JobState.of(job_spec)
    threads = state.read().get("threads")
    if threads and ranks.device == "cpu":
        torch.set_num_threads(min(threads, processes.cores()))
    while not _train(job_spec, ranks, state):
        if ranks.device.startswith("cuda"):
            torch.cuda.empty_cache()


def _train(job_spec: JobSpec, ranks: Ranks, state: State) -> bool:
    """False if there was too little memory, and the last epoch is to be tried again with batches in more parts."""
    parts = number_of_parts(state, job_spec.job)
    try:
        trainer = Trainer(job_spec, ranks, state)
        trainer.resume()
        while not trainer.finished:
            trainer.epoch()
        trainer.finish()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        state.note(**_in_more_parts(job_spec, ranks, parts, error))
        if ranks.world > 1:  # the others wait for this rank; Ray starts all again
            raise
        return False
    return True


def _in_more_parts(job_spec: JobSpec, ranks: Ranks, parts: int, error: Exception) -> dict[str, Any]:
    """What the state notes of a lack of memory; JobFailedError if batches can't be in more parts."""
    batch = -(-job_spec.job.batch // ranks.world)
    if parts >= batch:
        name = job_spec.name
        raise JobFailedError(
            f"out of memory on {ranks.device} with one image at once. Lower jobs.{name}.size, or take another network."
        ) from error
    return {"parts": 2 * parts, "memory": explain_shortage(error, batch, 2 * parts, ranks.device)}


class Trainer:
    """One job on one rank: the learner, its steps, and the progress."""

    def __init__(self, job_spec: JobSpec, ranks: Ranks, state: State | None = None) -> None:
        self.job_spec, self.job, self.ranks = job_spec, job_spec.job, ranks
        self.state = state or JobState.of(job_spec)
        self.task = plugins.load("tasks", self.job.task)
        self.rows_see_images = getattr(self.task, "ROWS_SEE_IMAGES", True)
        self.facts = sample.facts(job_spec.prepared)
        self.description = checkpoint.describe(self.job, self.facts, joined.options(job_spec.derived))
        self.settings = checkpoint.settings(self.job, self.facts)
        self.samples = loader.train_samples(
            self.job, job_spec.policy, job_spec.prepared, job_spec.augmented, job_spec.derived
        )
        self.val = joined.joined(shards.split(job_spec.prepared, "val"), "val", job_spec.derived)
        self.held_out = loader.Samples(self.val, Fit(self.job.size, self.job.fit))
        self.samples.view, self.held_out.view = (view.opened(job_spec.views.get(split)) for split in ("train", "val"))
        self.train_loader, self.val_loader = (
            loader.Loader(each, self.job, self.settings, ranks.device) for each in (self.samples, self.held_out)
        )
        torch.manual_seed(seed_of("weights", self.job.seed))
        self.learner: Learner = checkpoint.build(self.description).to(ranks.device)
        self.sum_type = torch.float32 if ranks.device == "mps" else torch.float64  # which MPS has not
        if ranks.device.startswith("cuda"):
            self.learner.to(memory_format=torch.channels_last)
        self.steps_per_epoch = len(self._plan(0))
        self.parts = number_of_parts(self.state, self.job)
        self.stepper = Stepper(job_spec, ranks, self.learner, self.steps_per_epoch, self.parts)
        if "pretrained" in job_spec.sources:
            unmatched = checkpoint.start(self.learner.network, job_spec.sources["pretrained"])
            self.state.note(not_taken=unmatched)
        if "extractor" in job_spec.sources:
            self.learner.use_extractor(checkpoint.load(job_spec.sources["extractor"], ranks.device)[0])
        self.stepper.begin()
        self.next_epoch, self.step, self.since_best = 0, 0, 0
        self.primary: str = self.task.PRIMARY
        self.best: dict[str, Any] | None = None
        self.history: list[dict[str, Any]] = []

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the score has not improved for `patience` epochs."""
        out_of_patience = self.job.patience is not None and self.since_best >= self.job.patience
        return self.next_epoch >= self.job.epochs or out_of_patience

    def _plan(self, epoch: int) -> loader.Plan:
        rank_and_world = {"rank": self.ranks.rank, "world": self.ranks.world}
        return loader.Plan(len(self.samples), self.job.batch, self.job.seed, epoch, **rank_and_world)

    def epoch(self) -> None:
        """Train one epoch, validate, and write a checkpoint."""
        started, epoch = time.monotonic(), self.next_epoch
        torch.manual_seed(seed_of("epoch", self.job.seed, epoch, self.ranks.rank))
        with self.stepper.fast_arithmetic():
            losses = self._pass(epoch, started)
            trained_s = time.monotonic() - started
            scores = self._validate()
        row = {"epoch": epoch + 1, "step": self.step, "train/lr": self.stepper.lr}
        row |= {f"train/{name}": value for name, value in losses.items()}
        self.primary = bootstrap.primary(self.task.PRIMARY, scores)
        logged = {name for name in scores if "[" not in name} | {self.primary}  # no curves per class
        row |= {f"val/{name}": scores[name] for name in scores if name in logged and math.isfinite(scores[name])}
        self.history.append(row)
        self.next_epoch = epoch + 1
        self._note_best(row)
        if self.ranks.leads:
            self._snapshot()
            self._save()
            rate = len(self.samples) / trained_s
            seconds = self.state.read()["seconds"] + time.monotonic() - started
            remark = self.task.remark(scores) if hasattr(self.task, "remark") else None
            progress = {"images_per_s": rate, "seconds": seconds, "remark": remark, "history": self.history}
            self._progress(epoch + 1, row["train/loss"], **progress)

    def _pass(self, epoch: int, started: float) -> dict[str, float]:
        self.learner.train()
        self.stepper.apply_freeze(epoch)
        plan = self._plan(epoch)
        weights = plan.weights()
        totals: dict[str, Tensor] = {}
        steps: dict[str, int] = {}
        reported_at, image_count = started, 0
        for number, batch in enumerate(self._batches(self.train_loader, plan)):
            losses = self._step(batch, weights[number])
            for name, loss in losses.items():
                summand = loss.detach().to(self.sum_type) * weights[number] / self.ranks.world
                totals[name] = totals.get(name, torch.zeros_like(summand)) + summand
                steps[name] = steps.get(name, 0) + 1  # a phase with `every: 2` has half the steps
            image_count += len(batch[0]) * self.ranks.world
            epoch_fraction = (number + 1) / self.steps_per_epoch
            if self.ranks.leads and epoch_fraction < 1 and time.monotonic() - reported_at > PROGRESS_EVERY_S:
                reported_at = time.monotonic()
                mean_loss = float(totals["loss"]) / (number + 1)
                self._progress(epoch + epoch_fraction, mean_loss, images_per_s=image_count / (reported_at - started))
        self.stepper.check_finite()
        names = sorted(totals)
        sums = self.ranks.sum(torch.stack([totals[name] for name in names]))
        return {name: float(value) / steps[name] for name, value in zip(names, sums, strict=True)}

    def _batches(self, loaded: loader.Loader, plan: Iterable[list[loader.Key]]) -> Iterator[Any]:
        return prefetch.on_device(loaded.batches(plan), self.ranks.device)

    def _step(self, batch: tuple[Tensor, Any], weight: float) -> dict[str, Tensor]:
        try:
            losses = self.stepper.take(batch, weight, self.step)
        except Exception as error:  # perhaps because of an earlier loss, at which nobody has looked yet
            self.stepper.explain(error)
            raise
        self.step += 1
        return losses

    @contextlib.contextmanager
    def _evaluated(self) -> Iterator[Learner]:
        """The learner as it is stored: in evaluation mode, with averaged weights if `ema` is set."""
        network = self.learner.network
        if self.stepper.average is not None:
            self.learner.network = self.stepper.average.module
        self.learner.eval()
        try:
            yield self.learner
        finally:
            self.learner.network = network

    def _validate(self) -> dict[str, float]:
        plan = list(range(len(self.held_out)))[self.ranks.rank :: self.ranks.world]
        size = -(-self.job.batch // self.parts)
        batches = [[(0, index) for index in plan[at : at + size]] for at in range(0, len(plan), size)]
        rows = []
        with self._evaluated() as learner, torch.inference_mode():
            self.ranks.broadcast_buffers(learner)
            for keys, batch in zip(batches, self._batches(self.val_loader, batches), strict=True):
                with self.stepper.autocast():
                    predictions = learner.predict_batch(*batch)
                for (_, index), prediction in zip(keys, predictions, strict=True):
                    item = self.val[index] if self.rows_see_images else self.val.blank(index)
                    placement = self.held_out.fit.placement(*item.pixels.shape[:2])
                    rows.append(self.task.rows(item, restore(self.task, prediction, placement)))
        table = pa.Table.from_pylist([row for part in self.ranks.gather(rows) for row in part])
        scores: dict[str, float] = self.task.scorer(table, self.settings)(np.ones(len(table), np.int64))
        return scores

    def _note_best(self, row: dict[str, Any]) -> None:
        """Keep the weights of the best epoch; while the score is undefined on val, those of the last one."""
        score = row.get(f"val/{self.primary}")
        value = -math.inf if score is None else score * (1 if self.task.HIGHER_IS_BETTER else -1)
        if self.best is None or value > self.best["value"] or self.best["value"] == -math.inf:
            self.best, self.since_best = {"value": value, "epoch": row["epoch"]}, 0
            if self.ranks.leads:
                self._store_best()
        else:
            self.since_best += 1

    def _store_best(self) -> None:
        with self._evaluated() as learner, store.folder(self.job_spec.work / "best", self.job_spec.fingerprint) as path:
            checkpoint.save(path, learner, self.description)

    def _snapshot(self) -> None:
        """Store the learner's picture of this epoch, before its checkpoint, so that a resumed job lacks none."""
        if self.next_epoch % max(1, self.job.epochs // SNAPSHOTS) and not self.finished:
            return
        with self._evaluated() as learner, torch.inference_mode():
            picture = learner.snapshot()
        if picture is not None:
            path = self.job_spec.work / checkpoint.SNAPSHOTS / f"{self.next_epoch:05d}.png"
            store.write_bytes(path, encode_png(picture))

    def _save(self) -> None:
        state = {
            "learner": self.learner.state_dict(),
            **self.stepper.state_dict(),
            "progress": (self.next_epoch, self.step, self.since_best, self.best, self.primary, self.history),
        }
        with store.folder(self.job_spec.work / "checkpoint", self.job_spec.fingerprint) as path:
            torch.save(state, path / "state.pt")

    def resume(self) -> None:
        """Load the last complete checkpoint, if there is one."""
        path = self.job_spec.work / "checkpoint"
        if not self.ranks.broadcast(store.holds(path, self.job_spec.fingerprint)):
            return
        state = torch.load(path / "state.pt", map_location=self.ranks.device, weights_only=True)
        self.learner.load_state_dict(state["learner"])
        self.stepper.load_state_dict(state)
        self.next_epoch, self.step, self.since_best, self.best, self.primary, self.history = state["progress"]
        if self.ranks.leads:
            self.state.note(resumed_at_step=self.step)

    def finish(self) -> None:
        """Load the best weights, fit the parts that are not trained by gradient, and write the model."""
        if not self.ranks.leads:
            return
        if self.best is not None:
            stored, _ = checkpoint.load(self.job_spec.work / "best", self.ranks.device)
            self.learner.network.load_state_dict(stored.network.state_dict())
        if isinstance(self.learner, Frozen):
            splits = {"train": (self.samples, self.train_loader), "val": (self.held_out, self.val_loader)}
            features.fit_head(self.job_spec, self.learner, splits, self.parts, self.state)
        plan = loader.Plan(len(self.samples), self.job.batch, self.job.seed)
        self.learner.eval().fit(self._batches(self.train_loader, plan))
        with store.folder(self.job_spec.model, self.job_spec.fingerprint) as path:
            description = copy.copy(self.description)
            description |= {"fingerprint": self.job_spec.fingerprint, "best_epoch": (self.best or {}).get("epoch", 0)}
            checkpoint.save(path, self.learner, description)
            history.write(path / history.FILE, self.history)
            record.write(path, self.job_spec, self.ranks, self.parts, compiled=self.stepper.compiles)
            for picture in checkpoint.snapshots(self.job_spec.work).values():
                store.write_bytes(path / checkpoint.SNAPSHOTS / picture.name, picture.read_bytes())

    def _progress(self, epochs_done: float, loss: float, **entries: Any) -> None:
        value = self.history[-1].get(f"val/{self.primary}") if self.history else None
        entries |= {"epoch": epochs_done, "loss": loss if math.isfinite(loss) else None, "step": self.step}
        self.state.note(primary=self.primary, value=value, **entries)
