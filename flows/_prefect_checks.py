"""What Prefect itself does not report: flow runs whose process is gone, and active schedules without a planned run."""

import os
from datetime import UTC, datetime
from pathlib import Path

from flows._run import prefect_environment
from pipeline import store


def orphaned_runs(root: Path, address: str) -> list[str]:
    """Names of running flow runs whose stage no process holds; `address` is the server's."""
    os.environ.update(prefect_environment(address, root))
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType

    running = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))
    with get_client(sync_client=True) as client:
        names = sorted(run.name for run in client.read_flow_runs(flow_run_filter=running))
    locks = {name: root / ".work/stages" / f"{name}.lock" for name in names}
    return [name for name in names if locks[name].exists() and not store.held(locks[name])]


def idle_schedules(root: Path, address: str) -> list[str]:
    """Names of deployments with an active schedule for which no run is planned."""
    os.environ.update(prefect_environment(address, root))
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, FlowRunFilter
    from prefect.client.schemas.filters import FlowRunFilterExpectedStartTime as Start

    planned = FlowRunFilter(expected_start_time=Start(after_=datetime.now(UTC)))
    idle = []
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments():
            if not deployment.paused and any(schedule.active for schedule in deployment.schedules):
                this = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
                runs = client.read_flow_runs(deployment_filter=this, flow_run_filter=planned, limit=200)
                if not any(run.auto_scheduled for run in runs):
                    idle.append(deployment.name)
    return sorted(idle)
