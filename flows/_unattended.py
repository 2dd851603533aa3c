"""Flow runs that Prefect shows as running though the process behind them is gone: a killed one can't say so."""

import os
from pathlib import Path

from flows._run import prefect_environment
from pipeline import store


def unattended(root: Path, address: str) -> list[str]:
    """Names of running flow runs whose stage no process holds; `address` is the server's."""
    os.environ.update(prefect_environment(address, root))
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType

    running = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))
    with get_client(sync_client=True) as client:
        names = sorted(found.name for found in client.read_flow_runs(flow_run_filter=running))
    locks = {name: root / ".work/stages" / f"{name}.lock" for name in names}
    return [name for name in names if locks[name].exists() and not store.held(locks[name])]
