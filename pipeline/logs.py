"""Where the project's messages go: the console, and `.work/logs/<command>.log`. Nothing is configured on import.

A module logs by `log = logging.getLogger(__name__)`; one that `python -m` runs gives its own dotted name, because its
`__name__` is `__main__` then. What a command was asked for is no message: `pipeline.terminal.output` prints that.
"""

import contextlib
import logging
import os
import sys
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from pipeline import terminal

#: whose messages are handled here; those of libraries are left to the root logger, which Prefect and Ray configure
PACKAGES = ("convline", "flows", "pipeline")
#: set where the console shall show warnings and errors only; a command's processes inherit it
QUIET = "CONVLINE_QUIET"
FOLDER = ".work/logs"
FILE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: a log is at most twice as long: what is older is in `<command>.log.1`
MAX_BYTES = 5_000_000


def configure(command: str | None = None, root: Path | None = None, *, all_to_stderr: bool = False) -> None:
    """Send messages to the console; with a command's name and the project's root also to the command's log file.

    `all_to_stderr` leaves standard output to the command's result.
    """
    console = ConsoleHandler(logging.WARNING if os.environ.get(QUIET) else logging.INFO)
    console.stderr_level = logging.NOTSET if all_to_stderr else logging.WARNING
    handlers: list[logging.Handler] = [console]
    if command is not None and root is not None:
        handlers.append(LogFileHandler(root.resolve() / FOLDER / f"{command}.log"))
    for package in PACKAGES:
        logger = logging.getLogger(package)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        for former in [each for each in logger.handlers if isinstance(each, ConsoleHandler | LogFileHandler)]:
            logger.removeHandler(former)
            former.close()
        for handler in handlers:
            logger.addHandler(handler)


class ConsoleHandler(logging.Handler):
    """Prints plain messages, warnings and errors on standard error; a closed pipe ends the command that prints."""

    #: messages of this level and above go to standard error
    stderr_level = logging.WARNING

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        terminal.output(self.format(record), error=record.levelno >= self.stderr_level)


class LogFileHandler(RotatingFileHandler):
    """Appends to a bounded file while `.work` exists. A disk that is full or read-only never stops the command."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=MAX_BYTES, backupCount=1, encoding="utf-8", delay=True)
        self.setFormatter(FileFormatter(FILE_FORMAT))

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(exist_ok=True)  # fails where there is no `.work`: it is not made for a log
        return super()._open()

    def close(self) -> None:
        """Close the file, whatever is left that its disk does not take."""
        with contextlib.suppress(OSError):
            super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the standard library's name)
        """Drop what the disk refuses."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class FileFormatter(logging.Formatter):
    """Escapes what a terminal would obey when the file is read there; blank lines around a message are left out."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the standard library's name)
        """The line without what stands around the message on a console."""
        record.message = record.message.strip()
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record."""
        return terminal.escape_lines(super().format(record))
