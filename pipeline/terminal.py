r"""What is said to a person: text from files and data is shown, never obeyed.

A name can hold what a terminal carries out (clear the screen, go up a line), what turns text around, or bytes that
are no text. `shown` writes these as escapes such as `\x1b`. The project prints by `output` alone, messages too
(pipeline/logs.py). It escapes all text, so that a message without `shown` can at most break a line.
"""

import json
import re
import sys
from typing import Any

#: controls (Unicode's Cc), separators of lines and paragraphs, marks that change the direction of all that follows
#: (U+202A..E, U+2066..9), and halves of surrogate pairs, as which Python keeps bytes of a name that are no UTF-8
HIDDEN = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
ANY = re.compile(f"[{HIDDEN}]")
ANY_BUT_LAYOUT = re.compile(rf"(?![\n\t])[{HIDDEN}]")


def shown(text: object) -> str:
    """Text for a line of a message: what can't be seen, line breaks too, as escapes."""
    return ANY.sub(_escape, str(text))


def laid_out(text: object) -> str:
    """Text of several lines: as `shown`, but line breaks and tabs stay."""
    return ANY_BUT_LAYOUT.sub(_escape, str(text))


def output(text: object = "", *, error: bool = False) -> None:
    """Print what a command was asked for, or on standard error; a Prefect flow with `log_prints` logs it, too."""
    print(laid_out(text), file=sys.stderr if error else sys.stdout, flush=True)


def unfit(name: str) -> str | None:
    """Why text can't be a name, or None; to be followed by a remedy."""
    found = ANY.search(name)
    if found is None:
        return None
    what = "bytes that are no UTF-8" if "\ud800" <= found[0] <= "\udfff" else "control characters"
    return f"its name holds {what} ({_escape(found)})"


def json_line(value: Any, *, ascii_only: bool = False) -> str:
    """A JSON value on one line, with what can't be seen, or all that is not ASCII, as JSON's own escapes."""
    return ANY.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=ascii_only))


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    if 0xDC80 <= number <= 0xDCFF:  # how Python keeps a byte that is no UTF-8
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
