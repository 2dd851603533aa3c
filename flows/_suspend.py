"""Suspend and Pause on Prefect's page: what the run started is ended first, and only then is it said to stand still.

Prefect itself looks between tasks, and these flows have none while DVC runs: training would go on below a run that is
shown Suspended. Resume begins the run again, which goes on from the last epochs.
"""

import contextlib
import threading
from collections.abc import Callable
from types import TracebackType
from uuid import UUID

import httpx
from prefect import State
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import Pause
from prefect.states import Running, Suspended

LOOK_S = 1.0


class Suspendable:
    """Looks, while its block runs, whether the flow run was suspended; then ends what it started, and the block.

    Args:
        run: The flow run.
        end: Ends what the run started; called again until the block has ended, which may start more.
    """

    def __init__(self, run: UUID, end: Callable[[], None]) -> None:
        self.run = run
        self.end = end
        self.asked: State | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="suspend", daemon=True)

    def __enter__(self) -> "Suspendable":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        cancelled = kind is not None and not issubclass(kind, Exception | Pause)
        if self.asked is None or cancelled:
            return
        self.end()
        until = self.asked.state_details.pause_timeout
        state = Suspended(
            pause_expiration_time=until, message="nothing of it runs; Resume goes on from the last epochs"
        )
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(self.run, state, force=True)
        raise Pause(state=state)  # in place of what the block says: it was interrupted

    def _watch(self) -> None:
        with get_client(sync_client=True) as client:
            while not self._over.wait(LOOK_S):
                if self.asked is None:
                    with contextlib.suppress(httpx.HTTPError):  # the server may be away for a while
                        self._look(client)
                else:
                    self.end()

    def _look(self, client: SyncPrefectClient) -> None:
        state = client.read_flow_run(self.run).state
        if state is not None and state.is_paused():
            self.asked = state
            client.set_flow_run_state(self.run, Running(message="is being suspended"), force=True)
            self.end()
