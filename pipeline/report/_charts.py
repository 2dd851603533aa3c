"""Charts as hand-written SVG: equal numbers give equal bytes, and the page's colours apply in light and dark mode.

Points and lines are labelled directly; where a label finds no free room, the name is in the tooltip alone.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

from pipeline.report._html import format_compact

LETTER_WIDTH = 7.2  # mean width of a letter at the charts' 12 px, in px
LINE_HEIGHT = 14.0  # in px
MIN_TICKS = 3  # per axis, if round values allow it
#: text-anchor → position of the anchor along the text, as a fraction of its width
ANCHOR_FRACTION = {"start": 0.0, "middle": 0.5, "end": 1.0}
#: left, top, right and bottom in px
Box = tuple[float, float, float, float]
Series = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps values low..high to px start..end, linearly or logarithmically."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def to_px(self, value: float) -> float:
        """The position of a value, in px."""
        low, high, value = (math.log(item) if self.log else item for item in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int = 4) -> list[tuple[float, str]]:
        """About `count` round values with their labels."""
        if not self.log:
            step = _round_step((self.high - self.low) / count)
            digits = max(0, -math.floor(math.log10(step)))
            first = math.ceil(self.low / step - 1e-9)
            values = [step * (first + number) for number in range(int((self.high - step * first) / step + 1e-9) + 1)]
            if len(values) < MIN_TICKS and count < 2 * MIN_TICKS:
                return self.ticks(2 * count)
            return [(value, f"{value:,.{digits}f}".replace("-", "−")) for value in values]
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5)):
            values = [step * 10.0**power for power in powers for step in steps]
            inside = [value for value in values if self.low <= value <= self.high]
            if len(inside) >= MIN_TICKS:
                return [(value, format_compact(value)) for value in inside[:: -(-len(inside) // (count + 2))]]
        return [(value, format_compact(value)) for value, _ in replace(self, log=False).ticks(count)]


def fit_axis(values: Iterable[float], start: float, end: float, *, log: bool = False, margin: float = 0.06) -> Axis:
    """An axis that holds all values, with a margin at both ends as a fraction of their range."""
    values = list(values)
    low, high = (math.log(min(values)), math.log(max(values))) if log else (min(values), max(values))
    padding = (high - low) * margin or (0.5 if log else abs(high) * 0.1 or 1)
    low, high = low - padding, high + padding
    return Axis(math.exp(low), math.exp(high), start, end, True) if log else Axis(low, high, start, end)


def _round_step(rough: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if rough <= step * power * 1.0001)


def svg(width: float, height: float, body: str, title: str, css_class: str = "chart") -> str:
    """An SVG picture; screen readers read the title."""
    label = escape(title)
    return f'<svg class="{css_class}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}">{body}</svg>'


def text(x: float, y: float, content: str, anchor: str = "start", css_class: str = "") -> str:
    """A line of text whose anchor is at (x, y)."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css_class}">{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, css_class: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css_class}"/>'


def dot(x: float, y: float, radius: float, css_class: str, title: str = "") -> str:
    """A dot; its title is shown as a tooltip."""
    tip = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{css_class}">{tip}</circle>'


def path(points: Series, x: Axis, y: Axis, css_class: str) -> str:
    """A line through points."""
    coordinates = " ".join(f"{x.to_px(a):.1f},{y.to_px(b):.1f}" for a, b in points)
    return f'<polyline points="{coordinates}" class="{css_class}"/>'


def frame(x: Axis, y: Axis, x_label: str, y_label: str) -> str:
    """Grid, tick labels, the label of x at the bottom right and of y at the top left."""
    parts = []
    for value, label in y.ticks():
        height = y.to_px(value)
        parts += [line(x.start, height, x.end, height, "grid"), text(x.start - 6, height + 4, label, "end", "tick")]
    for value, label in x.ticks():
        left = x.to_px(value)
        parts += [line(left, y.start, left, y.start + 4, "grid"), text(left, y.start + 17, label, "middle", "tick")]
    parts += [line(x.start, y.start, x.end, y.start, "axis"), text(x.end, y.start + 33, x_label, "end", "tick")]
    parts.append(text(4, 12, y_label, "start", "name"))
    return "".join(parts)


def interval_bar(
    value: float, low: float | None, high: float | None, bounds: tuple[float, float], reference: float
) -> str:
    """A dot with its interval, small enough for a table cell; `reference` is drawn as a thin dashed line."""
    x = fit_axis(bounds, 6, 90)
    parts = [line(x.to_px(reference), 0, x.to_px(reference), 18, "reference")]
    if low is not None and high is not None:
        parts.append(line(x.to_px(low), 9, x.to_px(high), 9, "whisker"))
    parts.append(dot(x.to_px(value), 9, 3.5, "dot"))
    title = f"{value:.4g}" if low is None or high is None else f"{value:.4g}, from {low:.4g} to {high:.4g}"
    return svg(96, 18, "".join(parts), title, "interval")


@dataclass(frozen=True, slots=True)
class Point:
    """A named point of a scatter chart; low and high bound y."""

    name: str
    x: float
    y: float
    low: float | None
    high: float | None


def scatter(points: Sequence[Point], x_label: str, y_label: str, *, higher_is_better: bool, front: bool = True) -> str:
    """Score against cost on a logarithmic x axis, with the Pareto front as a line if `front`."""
    width, height = 440, 320
    x = fit_axis([point.x for point in points], 52, width - 16, log=True, margin=0.12)
    extent = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    y = fit_axis(extent, height - 44, 28)
    best = pareto_front(points, higher_is_better=higher_is_better) if front else []
    body = [frame(x, y, x_label, y_label)]
    body += [path([(point.x, point.y) for point in best], x, y, "front")] if best else []
    for point in points:
        left = x.to_px(point.x)
        if point.low is not None and point.high is not None:
            body.append(line(left, y.to_px(point.low), left, y.to_px(point.high), "whisker"))
        css_class = "dot" if point in best or not front else "dot faint"
        tip = f"{point.name}: {point.y:.4g} at {format_compact(point.x)}"
        body.append(dot(left, y.to_px(point.y), 5, css_class, tip))
    centres = [(x.to_px(point.x), y.to_px(point.y)) for point in points]
    body += label_points(centres, [point.name for point in points], (x.start, y.end, x.end + 12, y.start))
    return svg(width, height, "".join(body), f"{y_label} against {x_label}")


def pareto_front(points: Sequence[Point], *, higher_is_better: bool) -> list[Point]:
    """The points that no point of equal or lower cost beats, cheapest first."""
    sign = 1 if higher_is_better else -1
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -sign * point.y)):
        if not front or sign * point.y > sign * front[-1].y:
            front.append(point)
    return front


def label_points(centres: Sequence[tuple[float, float]], names: Sequence[str], bounds: Box) -> list[str]:
    """The name beside each point where it covers no other name or point; a name without free room is left out."""
    occupied: list[Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in centres]
    parts = []
    for (x, y), name in zip(centres, names, strict=True):
        width = len(name) * LETTER_WIDTH
        for left, middle, anchor in _label_candidates(x, y, width):
            box = (left, middle - LINE_HEIGHT / 2, left + width, middle + LINE_HEIGHT / 2)
            if _inside(box, bounds) and not any(_overlap(box, other) for other in occupied):
                occupied.append(box)
                if abs(middle - y) > LINE_HEIGHT:
                    parts.append(line(x, y, x, middle + math.copysign(LINE_HEIGHT / 2, y - middle), "leader"))
                parts.append(text(left + ANCHOR_FRACTION[anchor] * width, middle + 4, name, anchor, "name"))
                break
    return parts


def _label_candidates(x: float, y: float, width: float) -> Iterator[tuple[float, float, str]]:
    """Left end, middle height and anchor of a name: right or left of its point, above or below, then further away.

    The anchor is the end nearest to the point, because the estimated width may be too large.
    """
    yield from ((x + 9, y, "start"), (x - 9 - width, y, "end"))
    for distance in (14, 28, 42, 56, 70):
        for middle in (y - distance, y + distance):
            yield from ((x - width / 2, middle, "middle"), (x - 8, middle, "start"), (x + 8 - width, middle, "end"))


def _inside(box: Box, bounds: Box) -> bool:
    return box[0] >= bounds[0] and box[1] >= bounds[1] and box[2] <= bounds[2] and box[3] <= bounds[3]


def _overlap(box: Box, other: Box) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
