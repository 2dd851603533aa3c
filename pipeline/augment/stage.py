"""The augment stage: for each dataset and policy that jobs use, the part of augmentation that runs before training.

`data/augmented/<dataset>-<policy>/`: `index.npy`, the order of train samples and copies in which classes are equally
frequent (balance); `copies-*.arrow`, augmented copies of each train image; `policy.json`; and `contact_sheet.png`, some
images before and after the policy. `data/augmented/<dataset>-<name>/` holds a derived field that jobs need
(pipeline/augment/derived/).
"""

import functools
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import images, plugins, processes, roots, sample, shards, store
from pipeline.augment import copies, joined, sheet
from pipeline.errors import UserError
from pipeline.fingerprint import compute_fingerprint
from pipeline.params import Params
from pipeline.params import Policy as PolicySettings
from pipeline.progress import Progress
from pipeline.shards import Shards

log = logging.getLogger(__name__)

Options = dict[str, Any]
KEEP_BYTES = 10_000_000_000
#: a file that is always there, as DVC warns of an empty output before every stage that reads it
NOTE, NOTE_TEXT = "README", b"A folder per data set and policy, and per data set and derived field, that jobs use.\n"


def run(params: Params, root: Path) -> None:
    """Update `data/augmented/` for the selected jobs; folders of others stay while they are up to date."""
    target, work = root / "data/augmented", root / ".work/augment"
    target.mkdir(parents=True, exist_ok=True)
    fingerprints = {}
    jobs = params.selected().values()
    pairs = {(job.dataset, job.augmentation) for job in jobs if job.augmentation is not None}
    for dataset, name in sorted(pairs):
        policy, prepared = params.policy(name), root / "data/prepared" / dataset
        fingerprint = fingerprints[f"{dataset}-{name}"] = policy_fingerprint(policy, prepared)
        make = functools.partial(_stage, policy=policy, prepared=prepared)
        outcome = store.update(target / f"{dataset}-{name}", fingerprint, work, make)
        entries = len(np.load(target / f"{dataset}-{name}/index.npy"))
        log.info(f"augment: {dataset}-{name}: {outcome}, {entries:,} samples per epoch")
    derived = {(job.dataset, name) for job in jobs for name in plugins.derived_fields(job.architecture, job.loss)}
    for dataset, name in sorted(derived):
        options, prepared = params.datasets[dataset].derived[name], root / "data/prepared" / dataset
        fingerprint = fingerprints[f"{dataset}-{name}"] = derived_fingerprint(name, options, prepared)
        make = functools.partial(derive, name=name, options=options, prepared=prepared)
        outcome = store.update(target / f"{dataset}-{name}", fingerprint, work, make)
        log.info(f"augment: {dataset}-{name}: {outcome}")
    if not fingerprints:
        log.info("augment: nothing to do, no job uses an augmentation")
    store.write_bytes(target / NOTE, NOTE_TEXT)
    store.keep_only(target, {*fingerprints, *_up_to_date(params, root)})
    store.bound(work, KEEP_BYTES, set(fingerprints.values()))


def _up_to_date(params: Params, root: Path) -> set[str]:
    """The folders of `data/augmented/` that any job of params.yaml uses and that are up to date."""
    names = set()
    for job in params.jobs.values():
        prepared = root / "data/prepared" / job.dataset
        policies = [] if job.augmentation is None else [job.augmentation]
        for name in [*policies, *plugins.derived_fields(job.architecture, job.loss)]:
            folder = root / "data/augmented" / f"{job.dataset}-{name}"
            if folder.name in names or not (folder.is_dir() and prepared.is_dir()):
                continue
            if name in policies:
                fingerprint = policy_fingerprint(params.policy(name), prepared)
            else:
                fingerprint = derived_fingerprint(name, params.datasets[job.dataset].derived[name], prepared)
            if store.holds(folder, fingerprint):
                names.add(folder.name)
    return names


def policy_fingerprint(policy: PolicySettings, prepared: Path) -> str:
    """The fingerprint of what a policy stages of a prepared data set."""
    dataset = store.content_digest(prepared)
    return compute_fingerprint(roots.staging(policy), policy=policy.model_dump(), dataset=dataset)


def derived_fingerprint(name: str, options: Options, prepared: Path) -> str:
    """The fingerprint of a derived field of a prepared data set."""
    return compute_fingerprint(roots.derivation(name), options=options, dataset=store.content_digest(prepared))


def derive(path: Path, name: str, options: Options, prepared: Path) -> None:
    """Fill the folder `path` with one derived field of a prepared data set."""
    store.verify(prepared)
    module = plugins.load("augment.derived", name)
    try:
        module.build(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"params.yaml: datasets.{prepared.name}.derived.{name}: {error}") from error
    splits = {split: shards.split(prepared, split) for split in module.SPLITS}
    parts = [part for split, stored in splits.items() for part in joined.parts(stored, split, name, options, path)]
    with Progress(name, sum(map(len, splits.values()))) as progress, processes.results(joined.make, parts) as made:
        for number in made:
            progress.advance(number)
    store.write_json(path / joined.OPTIONS, options)


def _stage(path: Path, policy: PolicySettings, prepared: Path) -> None:
    store.verify(prepared)
    stored, facts, staged = shards.split(prepared, "train"), sample.facts(prepared), policy.staged
    if staged.copies:
        copies.make(stored, staged.copies, staged.transforms, facts, path)
    np.save(path / "index.npy", index(stored, staged.copies, balance=staged.balance))
    store.write_json(path / "policy.json", policy.model_dump())
    picture = sheet.sheet(stored, [*staged.transforms, *policy.online], facts)
    store.write_bytes(path / "contact_sheet.png", images.encode_png(picture))


def index(stored: Shards, copies: int, *, balance: bool) -> NDArray[np.int64]:
    """Indices into the train samples followed by their copies; balanced: each class as often as the most frequent.

    The samples of a class are repeated in turn, so that their counts differ by at most one.
    """
    all_indices = np.arange(len(stored) * (1 + copies), dtype=np.int64)
    labels = stored.column("label")
    if not balance or None in labels:
        return all_indices
    label = np.tile(np.asarray(labels, np.int64), 1 + copies)
    largest = int(np.bincount(label).max())
    repeated = [np.resize(np.flatnonzero(label == value), largest) for value in np.unique(label)]
    return np.concatenate(repeated)
