r"""Prints text from files and data so that a terminal shows it and never obeys it.

A name can contain control characters (clear the screen, go up a line), marks that reverse the direction of text, or
bytes that are no text. `escape` writes these as escapes such as `\x1b`. The project prints by `output` only, messages
too (pipeline/logs.py). It escapes all text, so that a message that forgets `escape` can at most break a line.
"""

import json
import re
import shutil
import sys
from typing import Any, ClassVar

#: control characters (Unicode's Cc), separators of lines and paragraphs, marks that change the direction of text
#: (U+202A..E, U+2066..9), and halves of surrogate pairs, as which Python keeps bytes of a name that are no UTF-8
HIDDEN = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
ANY = re.compile(f"[{HIDDEN}]")
ANY_BUT_LAYOUT = re.compile(rf"(?![\n\t])[{HIDDEN}]")


def escape(text: object) -> str:
    """Text for one line of a message: invisible characters, line breaks too, as escapes."""
    return ANY.sub(_escape, str(text))


def escape_lines(text: object) -> str:
    """Text of several lines: as `escape`, but line breaks and tabs stay."""
    return ANY_BUT_LAYOUT.sub(_escape, str(text))


def output(text: object = "", *, error: bool = False) -> None:
    """Print a command's result, on standard error if it is an error; a Prefect flow with `log_prints` logs it, too.

    A line of progress makes room for it.
    """
    ProgressLine.write("")
    print(escape_lines(text), file=sys.stderr if error else sys.stdout, flush=True)


class ProgressLine:
    """The last line of a terminal, on standard error, where work says how far it has come (pipeline/progress.py)."""

    shown: ClassVar[bool] = False

    @classmethod
    def write(cls, text: str) -> None:
        """Replace the line; empty clears it."""
        if text or cls.shown:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{escape(text)[:width]}", end="", file=sys.stderr, flush=True)
        cls.shown = bool(text)


def name_fault(name: str) -> str | None:
    """Why text can't be a name, to be followed by a remedy; None if it can."""
    match = ANY.search(name)
    if match is None:
        return None
    what = "bytes that are no UTF-8" if "\ud800" <= match[0] <= "\udfff" else "control characters"
    return f"its name holds {what} ({_escape(match)})"


def json_line(value: Any, *, ascii_only: bool = False) -> str:
    """A JSON value on one line, with invisible characters, or all that are not ASCII, as JSON's own escapes."""
    return ANY.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=ascii_only))


def _escape(match: re.Match[str]) -> str:
    number = ord(match[0])
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
