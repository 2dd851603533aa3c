"""A suspended run ends what it started before it is said to be suspended; a cancel is left to Prefect."""

import contextlib
import threading
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


def begin(monkeypatch: pytest.MonkeyPatch, state: Any) -> tuple[Server, _suspend.Suspendable]:
    server = Server(state)
    monkeypatch.setattr(_suspend, "LOOK_S", 0.01)
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
