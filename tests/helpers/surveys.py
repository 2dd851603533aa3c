"""What the processes of a run are seen to do while it lasts: where they listen, and how they rank."""

import contextlib
import ipaddress
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil

LOOK_S = 0.5


@dataclass
class Survey:
    """What was seen: addresses that are listened on and ranks (`nice`), both by the names of processes."""

    listening: dict[str, set[str]] = field(default_factory=dict)
    ranks: dict[str, set[int]] = field(default_factory=dict)

    def open_doors(self) -> dict[str, set[str]]:
        """Who listens elsewhere than on the loopback."""
        doors = {
            name: {address for address in addresses if not is_loopback(address)}
            for name, addresses in self.listening.items()
        }
        return {name: addresses for name, addresses in doors.items() if addresses}

    def look(self) -> None:
        """See this process and all below it once."""
        me = psutil.Process()
        for process in (me, *me.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                name = (process.cmdline() or [process.name()])[0].split(" ")[0].rpartition("/")[2]
                self.ranks.setdefault(name, set()).add(process.nice())
                for socket in process.net_connections("inet"):
                    if socket.status == psutil.CONN_LISTEN:
                        self.listening.setdefault(name, set()).add(socket.laddr.ip)


def is_loopback(address: str) -> bool:
    """Also `::ffff:127.0.0.1`, the loopback as a socket of both kinds has it."""
    return ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback


@contextlib.contextmanager
def surveyed() -> Iterator[Survey]:
    """Look again and again while the block runs."""
    survey, over = Survey(), threading.Event()

    def go_on() -> None:
        while not over.wait(LOOK_S):
            survey.look()

    looking = threading.Thread(target=go_on)
    looking.start()
    try:
        yield survey
    finally:
        over.set()
        looking.join()
