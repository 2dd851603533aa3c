"""How every command of the project begins and ends, whatever terminal, locale or proxy it meets.

It says what a person can mend in one message, and ends quietly where nobody reads on.
"""

import codecs
import contextlib
import io
import locale
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import IO

from pipeline import disk, logs
from pipeline.errors import UserError

log = logging.getLogger(__name__)
FAULT, INTERRUPTED, UNREAD = 2, 130, 141
LOOK_S = 0.1
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def settle() -> None:
    """Make text UTF-8, escape what the terminal can't show, and let no proxy stand before this machine's services.

    Where the locale is of another encoding, Python starts again in its UTF-8 mode: names of files and what libraries
    read follow that mode, and it can't be switched on later.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _pass_by_proxies()
    if not sys.flags.utf8_mode and codecs.lookup(locale.getencoding()).name != "utf-8":
        shown = f"{sys.stdout.encoding}:backslashreplace"
        environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": shown}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
    logs.configure()


def _pass_by_proxies() -> None:
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if known != "*":  # which excepts all hosts, and only if it stands alone
        hosts = [host.strip() for host in known.split(",") if host.strip()]
        hosts += [host for host in LOOPBACK if host not in hosts]
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(hosts)


def run(act: Callable[[], int]) -> int:
    """Do what a command does; returns its exit code.

    That is 2 after a user's error, 130 after Ctrl-C, and 141, as a shell says of it, where nobody reads the output.
    """
    try:
        with disk.plainly():
            code = act()
            sys.stdout.flush()
            return code
    except UserError as error:
        return _tell(error)
    except KeyboardInterrupt:
        return UNREAD if _hush_all() else INTERRUPTED
    except (BrokenPipeError, SystemExit):
        if not _hush_all():
            raise  # it was another pipe, or another reason to end
        return UNREAD


@contextlib.contextmanager
def ended_unread() -> Iterator[None]:
    """End this process as SIGTERM does when nobody reads its output any more: those below it write there too."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_S):
            if unread(sys.stdout):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _tell(error: UserError) -> int:
    try:
        log.error(f"\n{error}\n")
    except BrokenPipeError:
        _hush(sys.stderr)
    return FAULT


def unread(stream: IO[str]) -> bool:
    """Whether the other end of a stream's pipe is closed."""
    try:
        watch = select.poll()
        watch.register(stream, 0)
        return any(event & select.POLLERR for _, event in watch.poll(0))
    except (OSError, ValueError):  # a stream without a file, as in tests
        return False


def _hush_all() -> bool:
    return any([_hush(sys.stdout), _hush(sys.stderr)])  # a list: both shall be looked at


def _hush(stream: IO[str]) -> bool:
    """Send an unread stream to nowhere, so that Python does not complain of it at its end; whether it was unread."""
    if not unread(stream):
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    return True
