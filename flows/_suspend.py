"""Suspend, Pause and Cancel on Prefect's pages: what is said to stand still does.

Prefect itself looks between tasks, and these flows have none while DVC or a stage runs: training would go on below a
run that is shown Suspended. A deployment's run ends what it started, then says so; Resume begins it again, and it goes
on from the last epochs. A stage has no process that Prefect knows: it ends itself where it is cancelled, and can't be
paused.
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

LOOK_S = 1.0


class Watch:
    """Looks at a flow run's state, in a thread, while its block runs."""

    def __init__(self, run: UUID) -> None:
        self.run = run
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="state", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        with get_client(sync_client=True) as client:
            while not self._over.wait(LOOK_S):
                with contextlib.suppress(httpx.HTTPError):  # the server may be away for a while
                    self.look(client, client.read_flow_run(self.run).state)

    def say(self, client: SyncPrefectClient, state: State) -> None:
        """Set the run's state, whatever Prefect's rules say."""
        client.set_flow_run_state(self.run, state, force=True)

    def look(self, client: SyncPrefectClient, state: State | None) -> None:
        """Act on what the state is now."""
        raise NotImplementedError


class Suspendable(Watch):
    """A deployment's run: where it is suspended or paused, what it started is ended, and its block with it.

    Args:
        run: The flow run.
        end: Ends what the run started; called again until the block has ended, which may start more.
    """

    def __init__(self, run: UUID, end: Callable[[], None]) -> None:
        super().__init__(run)
        self.end = end
        self.asked: State | None = None

    def look(self, client: SyncPrefectClient, state: State | None) -> None:
        """Note a suspend, and end what the run started."""
        if self.asked is None and state is not None and state.is_paused():
            self.asked = state
            self.say(client, Running(message="is being suspended"))
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
            self.say(client, state)
        raise Pause(state=state)  # in place of what the block says: it was interrupted


class Stage(Watch):
    """A stage's run: a cancel ends this process, as Ctrl-C would; a pause is taken back in words."""

    def look(self, client: SyncPrefectClient, state: State | None) -> None:
        """Act on a pause or a cancel."""
        if state is None:
            return
        if state.is_paused():
            self.say(client, Running(message="goes on: a stage can't be paused; suspend the repro or retrain above it"))
        if state.is_cancelling() or state.is_cancelled():
            self.say(client, Running(message="is being cancelled"))
            self._over.set()
            os.kill(os.getpid(), signal.SIGTERM)
