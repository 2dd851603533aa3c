"""HTML elements that sections share. Text from data passes `escape`, here or in the section."""

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
#: longest side of a tile, in px
TILE = 128


def intro(text: str) -> str:
    """The paragraph that opens a section; `text` is HTML."""
    return f'<p class="intro">{text}</p>'


def pill(text: str, css_class: str = "") -> str:
    """A short remark beside a name."""
    return f'<span class="pill {css_class}">{escape(text)}</span>'


def cell(html: str, value: float | None = None, *, css_class: str = "number") -> str:
    """A table cell; the column sorts by `value`."""
    sort = "" if value is None else f' data-sort="{value!r}"'
    return f'<td class="{css_class}"{sort}>{html}</td>'


def row_header(html: str) -> str:
    """The header cell of a row; it stays in view while a wide table scrolls."""
    return f'<th scope="row">{html}</th>'


def table(headers: Iterable[str], rows: Iterable[Iterable[str]], *, sortable: bool = False) -> str:
    """A table that scrolls sideways on a narrow screen; `headers` are HTML, `rows` hold finished cells."""
    header = "".join(f'<th scope="col">{item}</th>' for item in headers)
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    attribute = ' class="sortable"' if sortable else ""
    content = f"<thead><tr>{header}</tr></thead>\n<tbody>{body}</tbody>"
    return f'<div class="scroll" tabindex="0"><table{attribute}>{content}</table></div>'


def picture(path: Path, alt: str, caption: str = "") -> str:
    """A PNG file as an element of the page; empty where the file is missing or no PNG."""
    data = path.read_bytes() if path.is_file() else b""
    return _figure(data, alt, caption) if data.startswith(PNG) and len(data) >= 24 else ""


def png(pixels: NDArray[np.uint8], alt: str, caption: str = "") -> str:
    """A picture from H×W×3 pixels, at its own size."""
    return _figure(images.encode_png(pixels), alt, caption)


def tile(pixels: NDArray[np.uint8], alt: str, caption: str = "") -> str:
    """A small picture from H×W×3 or gray H×W pixels; larger pictures are scaled down to TILE."""
    height, width = pixels.shape[:2]
    scale = min(1, TILE / max(height, width))
    resized = images.resize(pixels, max(1, round(height * scale)), max(1, round(width * scale)))
    return _figure(images.encode_png(resized), alt, caption, "tile")


def _figure(data: bytes, alt: str, caption: str, css_class: str = "") -> str:
    """PNG bytes with their width and height, so that the layout does not shift while the page loads."""
    width, height = struct.unpack(">II", data[16:24])
    source = "data:image/png;base64," + base64.b64encode(data).decode()
    text = f"<figcaption>{caption}</figcaption>" if caption else ""
    attribute = f' class="{css_class}"' if css_class else ""
    return (
        f'<figure{attribute}><img src="{source}" width="{width}" height="{height}" alt="{escape(alt)}" loading="lazy">'
        f"{text}</figure>"
    )


def tiles(figures: Iterable[str]) -> str:
    """Tiles side by side."""
    return f'<div class="tiles">{"".join(figures)}</div>'


def gallery(figures: Iterable[str]) -> str:
    """Pictures or charts side by side, as many as fit; empty where there is none."""
    content = "".join(figures)
    return f'<div class="gallery">{content}</div>' if content else ""


def count_decimals(values: Iterable[float]) -> int:
    """Digits after the decimal point that suit all values of one column."""
    largest = max((abs(value) for value in values), default=0)
    return 3 if largest < 10 else 2 if largest < 100 else 1 if largest < 10_000 else 0


def format_fixed(value: float | None, digits: int) -> str:
    """A number with `digits` digits after the decimal point, or a dash."""
    return ABSENT if value is None else f"{value:,.{digits}f}".replace("-", "−")


def format_significant(value: float | None) -> str:
    """Three significant digits, and all digits before the decimal point: `0.420`, `12.3`, `1,234`."""
    return ABSENT if value is None else f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value) or 1)))}f}"


def format_compact(value: float | None, unit: str = "") -> str:
    """Three significant digits with k, M, G or T: `61.7 k`, `1.20 GB`."""
    if value is None:
        return ABSENT
    power = min(4, max(0, math.floor(math.log10(abs(value)) / 3))) if abs(value) >= 1 else 0
    scaled = value / 1000**power
    if abs(scaled) >= 999.5 and power < 4:
        power, scaled = power + 1, scaled / 1000
    text = f"{scaled:.0f}" if abs(scaled) >= 99.95 or (power == 0 and scaled == int(scaled)) else f"{scaled:.3g}"
    return f"{text} {('', 'k', 'M', 'G', 'T')[power]}{unit}".strip()


def format_setting(value: Any) -> str:
    """A setting in words: `3×224×224`, `variant paper, classes 10`."""
    if isinstance(value, dict):
        parts = (f"{name} {format_setting(item)}" for name, item in value.items() if item not in (None, {}, []))
        return ", ".join(part.strip() for part in parts)
    if isinstance(value, (list, tuple)):
        return "×".join(format_setting(item) for item in value)
    return escape(f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value))
