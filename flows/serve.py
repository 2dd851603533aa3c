"""The deployments that the Prefect UI runs: `repro`, with a form, and `retrain`, on a schedule that starts paused.

Both are one DVC run whose stages attach as child flows, and one at a time: a second one waits, and says so.
`make ui` keeps this process running; where it is gone, runs stay Late until the next `make ui`.
"""

import asyncio
import contextlib
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

from flows import _processes, _results, repro, retrain
from flows._processes import RUN
from flows._run import ROOT, live_services
from flows._suspend import Suspendable
from flows.services import SERVED
from pipeline import params as parameters
from pipeline import store, surroundings
from pipeline.errors import UserError
from pipeline.terminal import tell
from pipeline.train import stage as train_stage
from pipeline.train.job_state import held

NIGHTLY = "0 3 * * *"
LIMIT, QUERY_S = 3, 2.0
#: seconds within which Ray ends the workers of a stage that is gone
WORKERS_S = 60.0


def end_all(flow: Any, flow_run: Any, state: Any) -> None:
    """After a cancel or a crash: nothing that the run started lives on, nor is it said to."""
    _end_below(flow_run.id, flow_run.name)


def _end_below(run: UUID, name: str) -> None:
    """End what a run started, and say so of its stages; workers of Ray's head end a moment after their stage."""
    _processes.end(str(run))
    deadline = time.monotonic() + WORKERS_S
    while any(held(path.parent) for path in ROOT.glob(".work/jobs/*/state.json")) and time.monotonic() < deadline:
        time.sleep(_processes.POLL_S)
    below = filters.FlowRunFilter(parent_flow_run_id=filters.FlowRunFilterParentFlowRunId(any_=[run]))
    with get_client(sync_client=True) as client:
        for child in client.read_flow_runs(flow_run_filter=below):
            state = child.state
            if state is not None and not (state.is_completed() or state.is_failed() or state.is_cancelled()):
                ended = Cancelled(message=f"with {name}; the next run resumes")
                client.set_flow_run_state(child.id, ended, force=True)


@flow(name="repro", log_prints=True, on_cancellation=[end_all], on_crashed=[end_all])
def run_repro(jobs: Sequence[str] = (), force: bool = False) -> State:
    """Run what is stale of the pipeline, as `make repro` does.

    Args:
        jobs: Train these jobs alone, and those they start from, and measure them. The next full run takes up the
            results of those that are in the roster. Empty: the whole pipeline, for the roster of params.yaml.
        force: Train again what is up to date.
    """

    def body() -> State:
        surroundings.check(ROOT, surroundings.BEFORE_REPRO)
        params = parameters.read()
        chosen = params.choose(jobs)
        if not jobs:
            repro.forget_failures(ROOT)
        for command in repro.commands(list(jobs), list(params.selected()), force=force):
            code, last = _processes.call(command, ROOT)
            if code:
                return Failed(message=f"`{' '.join(command)}` ended with code {code}:\n{last}")
        if jobs:
            trained = train_stage.job_specs(chosen, ROOT)
            _tell_jobs(ROOT, {name: order.fingerprint for name, order in trained.items()})
            return Completed(message=f"trained and measured; {_results.outlook(jobs, params.selected())}")
        _tell_jobs(ROOT, _results.marks(ROOT))
        return _verdict(ROOT, "up to date")

    return _alone(body)


@flow(name="retrain", log_prints=True, on_cancellation=[end_all], on_crashed=[end_all])
def run_retrain() -> State:
    """Train what is stale of the newest commit and its images, in a worktree, and decide on the champion."""
    return _alone(_retrain)


def _retrain() -> State:
    _collapse_late()
    surroundings.check(ROOT, surroundings.BEFORE_RETRAIN)
    commit = retrain.newest(ROOT)
    content = retrain.content(ROOT, commit)
    for path in retrain.uncommitted(ROOT):
        tell(f"not committed, so not looked at: {path}")
    if content == retrain.done(ROOT):
        return _nothing_to_do(f"commit {commit[:8]} is trained already")
    tree = retrain.lay_out(ROOT, commit)
    stale = retrain.stale(tree)
    if not stale:
        retrain.note_done(ROOT, content)
        return _nothing_to_do(f"commit {commit[:8]} changes no stage's inputs")
    tell(f"commit {commit[:8]}: stale are {', '.join(stale)} and what follows from them")
    repro.forget_failures(tree)
    before = store.read_json(tree / "reports/registered.json", {})
    code, last = _processes.call(["dvc", "repro"], tree)
    if code:
        return Failed(message=f"`dvc repro` in {tree} ended with code {code}:\n{last}")
    decisions = _results.decisions(before, store.read_json(tree / "reports/registered.json", {}))
    create_table_artifact(table=decisions, key="decision", description=f"Champions after commit {commit[:8]}")
    _tell_jobs(tree, _results.marks(tree))
    verdict = _verdict(tree, "; ".join(f"{row['model']}: {row['decision']}" for row in decisions))
    if verdict.is_completed():
        retrain.note_done(ROOT, content)
    return verdict


def _verdict(root: Path, good: str) -> State:
    """What to say of a graph that ran to its end: jobs may have failed in it."""
    failed = repro.failures(root)
    return Failed(message="; ".join(map(": ".join, failed.items()))) if failed else Completed(message=good)


def _nothing_to_do(why: str) -> State:
    tell(f"nothing to do: {why}")
    return Completed(message=f"nothing to do: {why}")


def _tell_jobs(root: Path, marks: dict[str, str]) -> None:
    """The table of jobs, as the run's artifact."""
    mlflow = live_services(ROOT).get("mlflow", {}).get("address")
    table = _results.jobs(root, marks, mlflow)
    create_table_artifact(table=table, key="jobs", description="Jobs, their scores and their runs in MLflow")


def _alone(body: Callable[[], State]) -> State:
    """Run a body while no other repro or retrain does, here or in a terminal; a user's error is one message."""
    os.chdir(ROOT)
    run, name = UUID(str(runtime.flow_run.id)), str(runtime.flow_run.name)
    os.environ[RUN] = str(run)
    with Suspendable(run, lambda: _end_below(run, name)) as suspendable, _turn(suspendable):
        try:
            return body()
        except UserError as error:
            return Failed(message=str(error))


@contextlib.contextmanager
def _turn(suspendable: Suspendable) -> Iterator[None]:
    """Hold the lock of repro; while another has it, the run says that it waits. (Prefect's pages hide other names.)"""
    with contextlib.ExitStack() as held:
        waits = False
        while not _takes(held):
            if suspendable.asked is not None:
                raise Pause
            if not waits:
                tell("another repro or retrain is running; this one waits for it to end")
                _say(Running(message="waits for another repro or retrain to end"))
                waits = True
        if waits:
            _say(Running(message="its turn has come"))
        yield


def _takes(held: contextlib.ExitStack) -> bool:
    try:
        held.enter_context(repro.lock(ROOT))
    except UserError:
        return False
    return True


def _say(state: State) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(os.environ[RUN]), state, force=True)


def _collapse_late() -> None:
    """Cancel this deployment's other runs that are due: one retrain does the work of all."""
    due = filters.FlowRunFilter(
        deployment_id=filters.FlowRunFilterDeploymentId(any_=[UUID(runtime.deployment.id)]),
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=["SCHEDULED"])),
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    with get_client(sync_client=True) as client:
        late = client.read_flow_runs(flow_run_filter=due)
        for other in late:
            message = f"was late; {runtime.flow_run.name} does its work"
            client.set_flow_run_state(other.id, Cancelled(message=message), force=True)
    if late:
        tell(f"{len(late)} late retrains are this one")


def _end_orphans(client: SyncPrefectClient) -> None:
    """Say of runs that a killed process of this kind left behind that they are over: Prefect can't know."""
    alive = filters.FlowRunFilterStateType(any_=["PENDING", "RUNNING", "CANCELLING"])
    left = client.read_flow_runs(
        deployment_filter=filters.DeploymentFilter(name=filters.DeploymentFilterName(any_=["repro", "retrain"])),
        flow_run_filter=filters.FlowRunFilter(state=filters.FlowRunFilterState(type=alive)),
    )
    for run in left:
        end_all(None, run, run.state)
        message = "what serves the deployments was gone; the next run resumes"
        client.set_flow_run_state(run.id, Crashed(message=message), force=True)


def _schedule(client: SyncPrefectClient) -> dict[str, Any]:
    """The nightly schedule, off, for a first start; later ones leave what was set in the UI."""
    try:
        known = client.read_deployment_by_name("retrain/retrain").schedules
    except ObjectNotFound:
        known = [DeploymentScheduleCreate(schedule=CronSchedule(cron=NIGHTLY), active=False, slug="nightly")]
    kept = ("schedule", "active", "slug", "parameters")
    return {"schedules": [DeploymentScheduleCreate(**{name: getattr(each, name) for name in kept}) for each in known]}


def main() -> None:
    """Register the deployments and run them as they come."""
    from prefect.runner import Runner

    os.chdir(ROOT)
    runner = Runner(name="convline", pause_on_shutdown=False, limit=LIMIT, query_seconds=QUERY_S)
    with get_client(sync_client=True) as client:
        _end_orphans(client)
        schedule = _schedule(client)
    runner.add_deployment(run_repro.to_deployment("repro"))
    runner.add_deployment(run_retrain.to_deployment("retrain", **schedule))
    tell(SERVED, flush=True)
    asyncio.run(runner.start())


if __name__ == "__main__":
    main()
