"""Suspend, Pause and Cancel on Prefect's pages, so that a run shown as suspended really stands still.

Prefect itself checks between tasks, and these flows have none while DVC or a stage runs: training would go on below a
run that is shown as Suspended. A deployment's run ends its processes and then sets its state; Resume starts it again,
and it continues from the last epochs. Prefect knows no process of a stage: a stage ends itself when it is cancelled,
and can't be paused.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx
from prefect import State
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import Pause
from prefect.states import Running, Suspended

POLL_S = 1.0


class StateWatch:
    """Polls the state of a flow run in a thread while its block runs."""

    def __init__(self, run: UUID) -> None:
        self.run = run
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="state", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._finished.set()
        self._thread.join()

    def _watch(self) -> None:
        with get_client(sync_client=True) as client:
            while not self._finished.wait(POLL_S):
                with contextlib.suppress(httpx.HTTPError):  # the server may be away for a while
                    self.on_state(client, client.read_flow_run(self.run).state)

    def set_state(self, client: SyncPrefectClient, state: State) -> None:
        """Set the run's state, overriding Prefect's rules."""
        client.set_flow_run_state(self.run, state, force=True)

    def on_state(self, client: SyncPrefectClient, state: State | None) -> None:
        """Act on the current state."""
        raise NotImplementedError


class Suspendable(StateWatch):
    """A deployment's run: a suspend or pause ends its processes, and its block with them.

    Args:
        run: The flow run.
        end: Ends the processes of the run; called again until the block has ended, which may start more.
    """

    def __init__(self, run: UUID, end: Callable[[], None]) -> None:
        super().__init__(run)
        self.end = end
        self.asked: State | None = None

    def on_state(self, client: SyncPrefectClient, state: State | None) -> None:
        """Remember a suspend, and end the processes of the run."""
        if self.asked is None and state is not None and state.is_paused():
            self.asked = state
            self.set_state(client, Running(message="is being suspended"))
        if self.asked is not None:
            self.end()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        super().__exit__(kind, error, _)
        cancelled = kind is not None and not issubclass(kind, Exception | Pause)
        if self.asked is None or cancelled:
            return
        self.end()
        until = self.asked.state_details.pause_timeout
        state = Suspended(
            pause_expiration_time=until, message="nothing of it runs; Resume goes on from the last epochs"
        )
        with get_client(sync_client=True) as client:
            self.set_state(client, state)
        raise Pause(state=state)  # replaces the block's own error: it was interrupted


class Stage(StateWatch):
    """A stage's run: a cancel ends this process, as Ctrl-C would; a pause is undone with a message."""

    def on_state(self, client: SyncPrefectClient, state: State | None) -> None:
        """Act on a pause or a cancel."""
        if state is None:
            return
        if state.is_paused():
            message = "continues: a stage can't be paused; suspend its repro or retrain instead"
            self.set_state(client, Running(message=message))
        if state.is_cancelling() or state.is_cancelled():
            self.set_state(client, Running(message="is being cancelled"))
            self._finished.set()
            os.kill(os.getpid(), signal.SIGTERM)
