"""How every command of the project starts and ends, whatever the terminal, locale or proxy.

A user's error is one message; a command ends silently if nobody reads its output any more.
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
USER_ERROR, INTERRUPTED, UNREAD = 2, 130, 141
POLL_S = 0.1
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def set_up() -> None:
    """Use UTF-8, escape what the terminal can't show, bypass proxies for this machine's services, and log to it.

    If the locale has another encoding, Python restarts in its UTF-8 mode: names of files and what libraries read
    follow that mode, and it can't be switched on later.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _bypass_proxies()
    if not sys.flags.utf8_mode and codecs.lookup(locale.getencoding()).name != "utf-8":
        encoding = f"{sys.stdout.encoding}:backslashreplace"
        environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": encoding}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
    logs.configure()


def _bypass_proxies() -> None:
    exceptions = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if exceptions != "*":  # which means all hosts, and only if it stands alone
        hosts = [host.strip() for host in exceptions.split(",") if host.strip()]
        hosts += [host for host in LOOPBACK if host not in hosts]
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(hosts)


def run(action: Callable[[], int]) -> int:
    """Run a command's action; returns its exit code.

    That is 2 after a user's error, 130 after Ctrl-C, and 141 (128 + SIGPIPE) if nobody reads the output.
    """
    try:
        with disk.translate_errors():
            code = action()
            sys.stdout.flush()
            return code
    except UserError as error:
        return _log_error(error)
    except KeyboardInterrupt:
        return UNREAD if _silence_unread() else INTERRUPTED
    except (BrokenPipeError, SystemExit):
        if not _silence_unread():
            raise  # another pipe, or another reason to end
        return UNREAD


@contextlib.contextmanager
def end_when_unread() -> Iterator[None]:
    """End this process by SIGTERM when nobody reads its output any more: its children write there too."""
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(POLL_S):
            if unread(sys.stdout):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        finished.set()


def _log_error(error: UserError) -> int:
    try:
        log.error(f"\n{error}\n")
    except BrokenPipeError:
        _silence_if_unread(sys.stderr)
    return USER_ERROR


def unread(stream: IO[str]) -> bool:
    """Whether the other end of a stream's pipe is closed."""
    try:
        poll = select.poll()
        poll.register(stream, 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):  # a stream without a file, as in tests
        return False


def _silence_unread() -> bool:
    return any([_silence_if_unread(sys.stdout), _silence_if_unread(sys.stderr)])  # a list, so that both are checked


def _silence_if_unread(stream: IO[str]) -> bool:
    """Send an unread stream to /dev/null, so that Python does not complain at exit; returns whether it was unread."""
    if not unread(stream):
        return False
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
    return True
