"""The deployments of the Prefect UI: `repro`, with a form, and `retrain`, with a schedule that is off at first.

Both are one DVC run whose stages become child flows. One runs at a time; a second one waits and shows it.
`make ui` starts this process; while it does not run, flow runs stay Late until the next `make ui`.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import State, flow, runtime
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound, Pause
from prefect.states import Cancelled, Completed, Crashed, Failed, Running

from flows import _processes, choose, repro, retrain, tables
from flows._processes import RUN
from flows._run import ROOT, live_services
from flows._suspend import Suspendable
from flows.services import SERVED
from pipeline import logs, preflight, store
from pipeline.errors import UserError
from pipeline.train.job_state import held

#: its `__name__` is another where Prefect runs it
log = logging.getLogger("flows.serve")

NIGHTLY = "0 3 * * *"
LIMIT, QUERY_S = 3, 2.0
#: seconds in which Ray ends the workers of a stage that has ended
WORKERS_S = 60.0


def end_all(flow: Any, flow_run: Any, state: Any) -> None:
    """End the processes of a run after a cancel or a crash, and set the states of its stages."""
    _end_children(flow_run.id, flow_run.name)


def _end_children(run: UUID, name: str) -> None:
    """End the processes of a run and cancel its stages; workers of Ray's head end a moment after their stage."""
    _processes.terminate(str(run))
    deadline = time.monotonic() + WORKERS_S
    while any(held(path.parent) for path in ROOT.glob(".work/jobs/*/state.json")) and time.monotonic() < deadline:
        time.sleep(_processes.POLL_S)
    children = filters.FlowRunFilter(parent_flow_run_id=filters.FlowRunFilterParentFlowRunId(any_=[run]))
    with get_client(sync_client=True) as client:
        for child in client.read_flow_runs(flow_run_filter=children):
            state = child.state
            if state is not None and not (state.is_completed() or state.is_failed() or state.is_cancelled()):
                ended = Cancelled(message=f"with {name}; the next run resumes")
                client.set_flow_run_state(child.id, ended, force=True)


@flow(name="repro", log_prints=True, on_cancellation=[end_all], on_crashed=[end_all])
def run_repro(jobs: Sequence[str] = (), force: bool = False) -> State:
    """Run what is stale of the pipeline, as `make repro` does.

    Args:
        jobs: Jobs, data sets, studies or sets of jobs to run, with the jobs that those start from. Empty: the roster
            of params.yaml.
        force: Train up-to-date jobs again.
    """

    def body() -> State:
        preflight.check(ROOT, preflight.BEFORE_REPRO)
        os.environ.pop(choose.VARIABLE, None)
        repro.choose_jobs(ROOT, jobs, force=force)
        repro.forget_failures(ROOT)
        code, last = _processes.run_command(["dvc", "repro"], ROOT)
        if code:
            return Failed(message=f"`dvc repro` ended with code {code}:\n{last}")
        _publish_jobs(ROOT, tables.fingerprints(ROOT))
        return _final_state(ROOT, "up to date")

    return _exclusively("repro", body)


@flow(name="retrain", log_prints=True, on_cancellation=[end_all], on_crashed=[end_all])
def run_retrain() -> State:
    """Train what is stale of the newest commit and its images, in a worktree, and decide on the champion."""
    return _exclusively("retrain", _retrain)


def _retrain() -> State:
    _cancel_late_runs()
    preflight.check(ROOT, preflight.BEFORE_RETRAIN)
    commit = retrain.newest(ROOT)
    content = retrain.content(ROOT, commit)
    for path in retrain.uncommitted(ROOT):
        log.warning(f"{path}: is not committed, so this change is not trained. Commit it.")
    if content == retrain.trained_content(ROOT):
        return _nothing_to_do(f"commit {commit[:8]} is trained already")
    tree = retrain.make_worktree(ROOT, commit)
    os.environ.pop(choose.VARIABLE, None)
    choose.choose(tree, [])
    stale = retrain.stale(tree)
    if not stale:
        retrain.record_trained(ROOT, content)
        return _nothing_to_do(f"commit {commit[:8]} changes no stage's inputs")
    log.info(f"commit {commit[:8]}: stale are {', '.join(stale)} and the stages that depend on them")
    repro.forget_failures(tree)
    before = store.read_json(tree / "reports/registered.json", {})
    code, last = _processes.run_command(["dvc", "repro"], tree)
    if code:
        return Failed(message=f"`dvc repro` in {tree} ended with code {code}:\n{last}")
    decisions = tables.decisions(before, store.read_json(tree / "reports/registered.json", {}))
    create_table_artifact(table=decisions, key="decision", description=f"Champions after commit {commit[:8]}")
    _publish_jobs(tree, tables.fingerprints(tree))
    state = _final_state(tree, "; ".join(f"{row['model']}: {row['decision']}" for row in decisions))
    if state.is_completed():
        retrain.record_trained(ROOT, content)
    return state


def _final_state(root: Path, message: str) -> State:
    """The state of a finished graph: Failed with the reasons if jobs failed, else Completed with this message."""
    failed = repro.failures(root)
    return Failed(message="; ".join(map(": ".join, failed.items()))) if failed else Completed(message=message)


def _nothing_to_do(reason: str) -> State:
    log.info(f"nothing to do: {reason}")
    return Completed(message=f"nothing to do: {reason}")


def _publish_jobs(root: Path, fingerprints: dict[str, str]) -> None:
    """Publish the table of jobs as the run's artifact."""
    mlflow = live_services(ROOT).get("mlflow", {}).get("address")
    table = tables.jobs(root, fingerprints, mlflow)
    create_table_artifact(table=table, key="jobs", description="Jobs, their scores and their runs in MLflow")


def _exclusively(command: str, body: Callable[[], State]) -> State:
    """Run a body while no other repro or retrain runs, here or in a terminal; a user's error becomes one message."""
    os.chdir(ROOT)
    logs.configure(command, ROOT)
    run, name = UUID(str(runtime.flow_run.id)), str(runtime.flow_run.name)
    os.environ[RUN] = str(run)
    with Suspendable(run, lambda: _end_children(run, name)) as suspendable, _lock_or_wait(suspendable):
        try:
            return body()
        except UserError as error:
            return Failed(message=str(error))


@contextlib.contextmanager
def _lock_or_wait(suspendable: Suspendable) -> Iterator[None]:
    """Hold the lock of repro; while another holds it, the run's state says so (Prefect's pages hide other names)."""
    with contextlib.ExitStack() as held:
        waiting = False
        while not _acquire(held):
            if suspendable.asked is not None:
                raise Pause
            if not waiting:
                log.info("another repro or retrain is running; this one waits for it to end")
                _set_state(Running(message="waits for another repro or retrain to end"))
                waiting = True
        if waiting:
            _set_state(Running(message="the other run has ended"))
        yield


def _acquire(held: contextlib.ExitStack) -> bool:
    try:
        held.enter_context(repro.lock(ROOT))
    except UserError:
        return False
    return True


def _set_state(state: State) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(os.environ[RUN]), state, force=True)


def _cancel_late_runs() -> None:
    """Cancel this deployment's other runs that are due: one retrain covers them all."""
    due = filters.FlowRunFilter(
        deployment_id=filters.FlowRunFilterDeploymentId(any_=[UUID(runtime.deployment.id)]),
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=["SCHEDULED"])),
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    with get_client(sync_client=True) as client:
        late = client.read_flow_runs(flow_run_filter=due)
        for other in late:
            message = f"was late; {runtime.flow_run.name} runs in its place"
            client.set_flow_run_state(other.id, Cancelled(message=message), force=True)
    if late:
        log.info(f"{len(late)} late retrains were cancelled; this one runs in their place")


def _end_orphans(client: SyncPrefectClient) -> None:
    """Mark the runs of a killed server of deployments as crashed: Prefect can't know."""
    alive = filters.FlowRunFilterStateType(any_=["PENDING", "RUNNING", "CANCELLING"])
    left = client.read_flow_runs(
        deployment_filter=filters.DeploymentFilter(name=filters.DeploymentFilterName(any_=["repro", "retrain"])),
        flow_run_filter=filters.FlowRunFilter(state=filters.FlowRunFilterState(type=alive)),
    )
    for run in left:
        end_all(None, run, run.state)
        message = "the server of the deployments had ended; the next run resumes"
        client.set_flow_run_state(run.id, Crashed(message=message), force=True)


def _schedule(client: SyncPrefectClient) -> dict[str, Any]:
    """The nightly schedule, off, at the first start; later starts keep what was set in the UI."""
    try:
        schedules = client.read_deployment_by_name("retrain/retrain").schedules
    except ObjectNotFound:
        schedules = [DeploymentScheduleCreate(schedule=CronSchedule(cron=NIGHTLY), active=False, slug="nightly")]
    kept = ("schedule", "active", "slug", "parameters")
    return {
        "schedules": [DeploymentScheduleCreate(**{name: getattr(each, name) for name in kept}) for each in schedules]
    }


def main() -> None:
    """Register the deployments and run their flow runs."""
    from prefect.runner import Runner

    os.chdir(ROOT)
    logs.configure()  # this process's output is a log already
    runner = Runner(name="convline", pause_on_shutdown=False, limit=LIMIT, query_seconds=QUERY_S)
    with get_client(sync_client=True) as client:
        _end_orphans(client)
        schedule = _schedule(client)
    runner.add_deployment(run_repro.to_deployment("repro"))
    runner.add_deployment(run_retrain.to_deployment("retrain", **schedule))
    log.info(SERVED)
    asyncio.run(runner.start())


if __name__ == "__main__":
    main()
