"""Small pieces of HTML that sections share: text from data always passes `escape` here or in the section."""

import base64
import math
import struct
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import images

ABSENT = '<span class="absent">–</span>'
PNG = b"\x89PNG\r\n\x1a\n"
#: longest side of a small picture, in px
TILE = 128


def intro(text: str) -> str:
    """The sentence or two that open a section; `text` is HTML."""
    return f'<p class="intro">{text}</p>'


def pill(text: str, kind: str = "") -> str:
    """A small mark beside a name."""
    return f'<span class="pill {kind}">{escape(text)}</span>'


def cell(html: str, value: float | None = None, *, kind: str = "number") -> str:
    """A table cell; `value` is what the column sorts by."""
    sort = "" if value is None else f' data-sort="{value!r}"'
    return f'<td class="{kind}"{sort}>{html}</td>'


def row_head(html: str) -> str:
    """The cell that names its row and stays in view when a wide table scrolls."""
    return f'<th scope="row">{html}</th>'


def table(heads: Iterable[str], rows: Iterable[Iterable[str]], *, sortable: bool = False) -> str:
    """A table that scrolls sideways on a narrow screen; `heads` are HTML, `rows` hold finished cells."""
    head = "".join(f'<th scope="col">{item}</th>' for item in heads)
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    kind = ' class="sortable"' if sortable else ""
    inner = f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>"
    return f'<div class="scroll" tabindex="0"><table{kind}>{inner}</table></div>'


def picture(path: Path, alt: str, caption: str = "") -> str:
    """A PNG inside the page; empty where there is no such picture."""
    data = path.read_bytes() if path.is_file() else b""
    return _figure(data, alt, caption) if data.startswith(PNG) and len(data) >= 24 else ""


def tile(pixels: NDArray[np.uint8], alt: str, caption: str = "") -> str:
    """A small picture inside the page, of H×W×3 or grey H×W pixels; what is larger than a tile is scaled down."""
    height, width = pixels.shape[:2]
    scale = min(1, TILE / max(height, width))
    small = images.resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
    return _figure(images.encode_png(small), alt, caption, "tile")


def _figure(data: bytes, alt: str, caption: str, kind: str = "") -> str:
    """PNG bytes with their size, so that nothing jumps while the page loads."""
    width, height = struct.unpack(">II", data[16:24])
    source = "data:image/png;base64," + base64.b64encode(data).decode()
    text = f"<figcaption>{caption}</figcaption>" if caption else ""
    mark = f' class="{kind}"' if kind else ""
    return (
        f'<figure{mark}><img src="{source}" width="{width}" height="{height}" alt="{escape(alt)}" loading="lazy">'
        f"{text}</figure>"
    )


def tiles(figures: Iterable[str]) -> str:
    """Small pictures side by side."""
    return f'<div class="tiles">{"".join(figures)}</div>'


def gallery(figures: Iterable[str]) -> str:
    """Pictures or charts side by side as the screen allows; empty where there is none."""
    shown = [figure for figure in figures if figure]
    return f'<div class="gallery">{"".join(shown)}</div>' if shown else ""


def decimals(values: Iterable[float]) -> int:
    """Digits after the point that suit all values of one column."""
    largest = max((abs(value) for value in values), default=0)
    return 3 if largest < 10 else 2 if largest < 100 else 1 if largest < 10_000 else 0


def number(value: float | None, digits: int) -> str:
    """A number with a fixed count of digits, or a dash."""
    return ABSENT if value is None else f"{value:,.{digits}f}".replace("-", "−")


def significant(value: float | None) -> str:
    """Three significant digits, all digits before the point: `0.420`, `12.3`, `1,234`."""
    return ABSENT if value is None else f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value) or 1)))}f}"


def compact(value: float | None, unit: str = "") -> str:
    """Three significant digits with k, M, G or T: `61.7 k`, `1.20 GB`."""
    if value is None:
        return ABSENT
    power = min(4, max(0, math.floor(math.log10(abs(value)) / 3))) if abs(value) >= 1 else 0
    scaled = value / 1000**power
    if abs(scaled) >= 999.5 and power < 4:
        power, scaled = power + 1, scaled / 1000
    text = f"{scaled:.0f}" if abs(scaled) >= 99.95 or (power == 0 and scaled == int(scaled)) else f"{scaled:.3g}"
    return f"{text} {('', 'k', 'M', 'G', 'T')[power]}{unit}".strip()


def plain(value: Any) -> str:
    """A setting as a person would write it: `3×224×224`, `variant paper, classes 10`."""
    if isinstance(value, dict):
        parts = (f"{name} {plain(item)}" for name, item in value.items() if item not in (None, {}, []))
        return ", ".join(part.strip() for part in parts)
    if isinstance(value, (list, tuple)):
        return "×".join(plain(item) for item in value)
    return escape(f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value))
