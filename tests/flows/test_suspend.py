"""A suspended run ends what it started before it is said to be suspended; a cancel is left to Prefect."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from flows import _suspend


class Server:
    """A flow run's states, and what was done between them."""

    def __init__(self, state: Any) -> None:
        self.told: list[str] = []
        self.state = state
        self.ended = threading.Event()

    @contextlib.contextmanager
    def client(self, *, sync_client: bool) -> Iterator[SimpleNamespace]:
        assert sync_client
        yield SimpleNamespace(read_flow_run=lambda run: self, set_flow_run_state=self.set)

    def set(self, run: UUID, state: Any, *, force: bool) -> None:
        assert force
        self.told.append(state.name)
        self.state = state

    def end(self) -> None:
        self.told.append("end")
        self.ended.set()

    def shows(self, *names: str) -> bool:
        """Wait until these states were set."""
        deadline = time.monotonic() + 60
        while self.told != list(names) and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.told == list(names)


def begin(monkeypatch: pytest.MonkeyPatch, state: Any) -> tuple[Server, _suspend.Suspendable]:
    server = Server(state)
    monkeypatch.setattr(_suspend, "POLL_S", 0.01)
    monkeypatch.setattr(_suspend, "get_client", server.client)
    return server, _suspend.Suspendable(uuid4(), server.end)


@pytest.mark.parametrize("how", ["Suspended", "Paused"])
def test_it_is_said_after_all_has_ended_and_can_be_resumed(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect import states
    from prefect.exceptions import Pause

    asked = getattr(states, how)(timeout_seconds=300)
    server, suspendable = begin(monkeypatch, asked)
    with pytest.raises(Pause) as raised, suspendable:
        assert server.ended.wait(60)
    assert server.told[:2] == ["Running", "end"]
    assert server.told[-2:] == ["end", "Suspended"]
    assert raised.value.state is server.state
    assert server.state.state_details.pause_reschedule
    assert server.state.state_details.pause_timeout == asked.state_details.pause_timeout


def test_a_run_that_goes_on_ends_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.states import Running

    server, suspendable = begin(monkeypatch, Running())
    with pytest.raises(ValueError, match="its own"), suspendable:
        raise ValueError("its own")
    with begin(monkeypatch, Running())[1]:
        pass
    assert server.told == []


def test_a_cancel_meanwhile_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.states import Suspended

    server, suspendable = begin(monkeypatch, Suspended())

    def work() -> None:
        with suspendable:
            assert server.ended.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert "Suspended" not in server.told


def test_a_stage_can_not_be_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.states import Paused

    server, _ = begin(monkeypatch, Paused())
    with _suspend.Stage(uuid4()):
        assert server.shows("Running")
    assert "can't be paused" in server.state.message


def test_a_cancelled_stage_ends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.states import Cancelling

    signals: list[int] = []
    monkeypatch.setattr(os, "kill", lambda process, number: signals.append(number))
    server, _ = begin(monkeypatch, Cancelling())
    with _suspend.Stage(uuid4()) as stage:
        stage._thread.join(60)
    assert signals == [signal.SIGTERM]
    assert server.told == ["Running"]
