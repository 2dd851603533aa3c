"""The checks of `convline doctor`: the problems of a project, each with its remedy; nothing is changed.

A check yields findings, and notes on the state. A check that fails is a finding itself.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from convline import preflight_checks
from convline.findings import Finding, Findings
from convline.service_checks import check_prefect, check_services
from flows.child_commands import NO_TELEMETRY
from pipeline import addresses, database, disk, params, registered, store, tracking
from pipeline.errors import UserError
from pipeline.register import trust, versions
from pipeline.train import job_state

FREE_BYTES = 5_000_000_000
SHOWN = 5
LOCK, RWLOCK = "requirements.lock", ".dvc/tmp/rwlock"


def check(root: Path) -> Iterator[tuple[str, list[Finding], list[str]]]:
    """Make every check: its name, findings and notes."""
    os.environ.update(NO_TELEMETRY)
    for name, make in CHECKS.items():
        results = list(_safely(make, root))
        findings = [item for item in results if isinstance(item, Finding)]
        yield name, findings, [item for item in results if isinstance(item, str)]


def _safely(make: Callable[[Path], Findings], root: Path) -> Findings:
    try:
        yield from make(root)
    except UserError as error:
        yield Finding(str(error), "Do so, then run convline doctor again.")
    except Exception as error:  # one failing check must not stop the others
        if (refused := disk.disk_error(error)) is not None:
            yield Finding(str(refused), "Then run convline doctor again.")
            return
        what = f"the check ended with {type(error).__name__}: {error}"
        yield Finding(
            what, "If `make down`, `make setup` and `make repro` do not help, it is a fault of convline: report it."
        )


def check_settings(root: Path) -> Findings:
    """Whether params.yaml can be read."""
    settings = params.read(root / params.FILE)
    yield f"{len(settings.datasets)} datasets, {len(settings.selected())} of {len(settings.jobs)} jobs in the roster"


def check_around(root: Path) -> Findings:
    """What the project needs of its machine: disks, git, images, Ray."""
    yield from (Finding(what, remedy) for what, remedy in preflight_checks.problems(root))
    yield from preflight_checks.notes()


def check_versions(root: Path) -> Findings:
    """Whether the installed packages are those of the lock."""
    lines = (root / LOCK).read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line.rstrip("\\ ")) for line in lines if line[:1].isalnum()]
    wanted = [item for item in wanted if item.marker is None or item.marker.evaluate()]
    wrong = []
    for item in wanted:
        try:
            if not item.specifier.contains(version(item.name), prereleases=True):
                wrong.append(f"{item.name} {version(item.name)} instead of {item.specifier}")
        except PackageNotFoundError:
            wrong.append(f"{item.name} is missing")
    yield f"{len(wanted) - len(wrong)} of {len(wanted)} packages as in {LOCK}"
    if wrong:
        more = ", …" if len(wrong) > SHOWN else ""
        yield Finding(f"{', '.join(wrong[:SHOWN])}{more}", "rm -f .venv/.ready && make setup")


def check_disk(root: Path) -> Findings:
    """Whether there is room for checkpoints."""
    free = shutil.disk_usage(root).free
    work = sum(file.lstat().st_size for file in (root / ".work").rglob("*") if file.is_file())
    yield f"{free / 1e9:.1f} GB free, {work / 1e9:.1f} GB in .work"
    if free < FREE_BYTES:
        remedy = "rm -rf .work (earlier results, made again when needed) after `make down`, or `dvc gc --workspace`"
        yield Finding(f"less than {FREE_BYTES / 1e9:.0f} GB free", remedy)


def check_jobs(root: Path) -> Findings:
    """Jobs whose state is running though nothing trains them, failed jobs, and damaged models."""
    running = 0
    for path in sorted((root / ".work/jobs").glob("*/state.json")):
        entry = store.read_json(path)
        if entry.get("state") != "running":
            continue
        if job_state.held(path.parent):
            running += 1
        else:
            what = f"job {entry['name']}: its state file says running (process {entry['pid']}), but nothing trains it"
            yield Finding(what, _resume(root, entry["name"], path.parent))
    for name, entry in store.read_json(root / "models/failed.json", {}).items():
        yield Finding(f"job {name} failed: {entry['reason']}", "Change the job or its data, then make repro.")
    models = [path for path in sorted((root / "models").glob("*")) if path.is_dir()]
    for path in models:
        try:
            store.verify(path)
        except store.StoreError as error:
            yield Finding(str(error), f"rm -rf {path.relative_to(root)} && make repro")
    yield f"{running} in training, {len(models)} in models/"


def _resume(root: Path, job: str, work: Path) -> str:
    """The command that resumes an interrupted job: a full run only if the roster has it."""
    try:
        settings = params.read(root / params.FILE)
    except UserError:  # a finding of check_settings
        settings = None
    if settings is not None and job not in settings.jobs:
        return f"Put the job back into {params.FILE}, or rm -rf {work.relative_to(root)}"
    command = "make repro" if settings is None or job in settings.selected() else f"convline run {job}"
    return f"{command}, which resumes it at its last epoch"


def check_dvc(root: Path) -> Findings:
    """DVC's lock file: DVC rewrites it in place, so a kill can damage it, and every later `dvc repro` fails."""
    path = root / RWLOCK
    try:
        store.read_json(path, {})
    except store.StoreError:
        others = [process for process in psutil.process_iter(["cmdline"]) if _is_dvc(process, root)]
        remedy = f"rm {RWLOCK}" if not others else f"Wait for process {others[0].pid} to end; then rm {RWLOCK}"
        yield Finding(f"{RWLOCK} is damaged, so that every `dvc repro` fails", remedy)


def _is_dvc(process: psutil.Process, root: Path) -> bool:
    try:
        words = [Path(word).name for word in process.info["cmdline"] or ()]
        return "dvc" in words and Path(process.cwd()).is_relative_to(root)
    except psutil.Error:
        return False


def check_mlflow(root: Path) -> Findings:
    """Runs and champions in MLflow against job states, models/ and registered.json."""
    if not (root / database.FILE).exists():
        yield "no database yet"
        return
    damaged = [Finding(what, remedy) for what, remedy in database.faults(root)]
    if damaged:
        yield from damaged
        return
    for folder in addresses.former_folders(root / tracking.FOLDER):
        what = f"MLflow's addresses are those of {folder}, from where this project was moved or copied"
        yield Finding(what, "make repro, which rewrites them first")
        return
    client = tracking.client(root)
    for name in sorted(tracking.deleted(client) & _experiments(root)):
        yield Finding(f"the experiment {name} is deleted in MLflow", "make repro, which restores it with its runs")
    runs = tracking.statuses(client)
    yield f"{len(runs)} runs"
    for fingerprint, (name, status) in sorted(runs.items(), key=lambda item: item[1]):
        work = root / ".work/jobs" / fingerprint
        state = store.read_json(work / "state.json", {}).get("state")
        if status == "RUNNING" and not job_state.held(work):
            yield Finding(f"run {name}: MLflow shows it running, but nothing trains it", "make repro, which ends it")
        elif status != "RUNNING" and job_state.held(work):
            yield Finding(
                f"run {name}: is in training, but MLflow says {status}", "It is corrected with the next epoch."
            )
        elif state == "failed" and status != "FAILED":
            yield Finding(f"run {name}: its state file says failed, but MLflow says {status}", "make repro")
    holders = {model: entry["champion"] for model, entry in registered.entries(root).items()}
    remembered = {model: holder["fingerprint"] for model, holder in holders.items() if holder}
    champions = versions.champions(client)
    unsigned = set(trust.unsigned(root, champions))
    for model in sorted(unsigned):
        number = champions[model].version
        what = f"champion of {model}: version {number} is not signed with a key of this project, so its code is not run"
        yield Finding(what, f"convline trust {model} {number}, if you know where it is from")
    for model, fingerprint in remembered.items():
        current = champions[model].tags.get(tracking.FINGERPRINT, "") if model in champions else "none"
        if current != fingerprint and model not in unsigned:
            what = f"champion of {model}: {registered.FILE} has {fingerprint[:12]}, MLflow has {current[:12]}"
            yield Finding(what, "make repro, which takes MLflow's, or registers it again if it is lost")


def _experiments(root: Path) -> set[str]:
    """Names of the experiments of the roster's jobs; empty if params.yaml is wrong, which is another finding."""
    try:
        selected = params.read(root / params.FILE).selected()
    except UserError:
        return set()
    return {f"{job.dataset}/{job.task}" for job in selected.values()}


CHECKS: dict[str, Callable[[Path], Findings]] = {
    "settings": check_settings,
    "around": check_around,
    "versions": check_versions,
    "disk": check_disk,
    "services": check_services,
    "jobs": check_jobs,
    "dvc": check_dvc,
    "prefect": check_prefect,
    "mlflow": check_mlflow,
}
