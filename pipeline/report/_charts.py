"""Charts as hand-written SVG: equal numbers give equal bytes, and the page's colours apply in light and dark.

Points and lines carry their names directly; where no free place is left, the name stays in the tooltip.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

from pipeline.report._html import compact

LETTER = 7.2  # width of an average letter at the charts' 12 px, in px
LINE = 14.0  # height of a line of text there, in px
FEWEST = 3  # ticks of an axis, where that can be had
#: where along a text its anchor is
SHARE = {"start": 0.0, "middle": 0.5, "end": 1.0}
Box = tuple[float, float, float, float]
Series = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """Values low..high along px start..end, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The place of a value, in px."""
        low, high, value = (math.log(item) if self.log else item for item in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int = 4) -> list[tuple[float, str]]:
        """About `count` round values with their labels."""
        if not self.log:
            step = _round_step((self.high - self.low) / count)
            digits = max(0, -math.floor(math.log10(step)))
            first = math.ceil(self.low / step - 1e-9)
            values = [step * (first + number) for number in range(int((self.high - step * first) / step + 1e-9) + 1)]
            if len(values) < FEWEST and count < 2 * FEWEST:
                return self.ticks(2 * count)
            return [(value, f"{value:,.{digits}f}".replace("-", "−")) for value in values]
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5)):
            values = [step * 10.0**power for power in powers for step in steps]
            inside = [value for value in values if self.low <= value <= self.high]
            if len(inside) >= FEWEST:
                return [(value, compact(value)) for value in inside[:: -(-len(inside) // (count + 2))]]
        return [(value, compact(value)) for value, _ in replace(self, log=False).ticks(count)]


def axis(values: Iterable[float], start: float, end: float, *, log: bool = False, margin: float = 0.06) -> Axis:
    """An axis that holds all values with some air around them."""
    values = list(values)
    low, high = (math.log(min(values)), math.log(max(values))) if log else (min(values), max(values))
    air = (high - low) * margin or (0.5 if log else abs(high) * 0.1 or 1)
    low, high = low - air, high + air
    return Axis(math.exp(low), math.exp(high), start, end, True) if log else Axis(low, high, start, end)


def _round_step(rough: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if rough <= step * power * 1.0001)


def svg(width: float, height: float, body: str, title: str, kind: str = "chart") -> str:
    """An SVG picture with a spoken name."""
    label = escape(title)
    return f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}">{body}</svg>'


def text(x: float, y: float, content: str, anchor: str = "start", kind: str = "") -> str:
    """A line of text at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def dot(x: float, y: float, radius: float, kind: str, title: str = "") -> str:
    """A dot, with a tooltip where it has a title."""
    tip = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{kind}">{tip}</circle>'


def path(points: Series, x: Axis, y: Axis, kind: str) -> str:
    """A line through points."""
    places = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in points)
    return f'<polyline points="{places}" class="{kind}"/>'


def frame(x: Axis, y: Axis, x_label: str, y_label: str) -> str:
    """Grid, tick labels, the name of x below right and of y above left."""
    parts = []
    for value, label in y.ticks():
        place = y.at(value)
        parts += [line(x.start, place, x.end, place, "grid"), text(x.start - 6, place + 4, label, "end", "tick")]
    for value, label in x.ticks():
        place = x.at(value)
        parts += [line(place, y.start, place, y.start + 4, "grid"), text(place, y.start + 17, label, "middle", "tick")]
    parts += [line(x.start, y.start, x.end, y.start, "axis"), text(x.end, y.start + 33, x_label, "end", "tick")]
    parts.append(text(4, 12, y_label, "start", "name"))
    return "".join(parts)


def interval(value: float, low: float | None, high: float | None, bounds: tuple[float, float], mark: float) -> str:
    """A dot with its whisker, small enough for a table; `mark` is a value to compare with, drawn as a thin line."""
    x = axis(bounds, 6, 90)
    parts = [line(x.at(mark), 0, x.at(mark), 18, "mark")]
    if low is not None and high is not None:
        parts.append(line(x.at(low), 9, x.at(high), 9, "whisker"))
    parts.append(dot(x.at(value), 9, 3.5, "dot"))
    spoken = f"{value:.4g}" if low is None or high is None else f"{value:.4g}, from {low:.4g} to {high:.4g}"
    return svg(96, 18, "".join(parts), spoken, "interval")


@dataclass(frozen=True, slots=True)
class Point:
    """A named point of a scatter chart, with the interval of its y value where it has one."""

    name: str
    x: float
    y: float
    low: float | None
    high: float | None


def scatter(points: Sequence[Point], x_label: str, y_label: str, *, higher_is_better: bool) -> str:
    """Score against cost on a logarithmic x; a line joins the points that nothing cheaper beats."""
    width, height = 440, 320
    x = axis([point.x for point in points], 52, width - 16, log=True, margin=0.12)
    extent = [value for point in points for value in (point.y, point.low, point.high) if value is not None]
    y = axis(extent, height - 44, 28)
    front = frontier(points, higher_is_better=higher_is_better)
    body = [frame(x, y, x_label, y_label), path([(point.x, point.y) for point in front], x, y, "front")]
    for point in points:
        place = x.at(point.x)
        if point.low is not None and point.high is not None:
            body.append(line(place, y.at(point.low), place, y.at(point.high), "whisker"))
        kind = "dot" if point in front else "dot faint"
        body.append(dot(place, y.at(point.y), 5, kind, f"{point.name}: {point.y:.4g} at {compact(point.x)}"))
    places = [(x.at(point.x), y.at(point.y)) for point in points]
    body += labels(places, [point.name for point in points], (x.start, y.end, x.end + 12, y.start))
    return svg(width, height, "".join(body), f"{y_label} against {x_label}")


def frontier(points: Sequence[Point], *, higher_is_better: bool) -> list[Point]:
    """The points that no point of equal or lower cost beats, cheapest first."""
    sign = 1 if higher_is_better else -1
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -sign * point.y)):
        if not best or sign * point.y > sign * best[-1].y:
            best.append(point)
    return best


def labels(places: Sequence[tuple[float, float]], names: Sequence[str], bounds: Box) -> list[str]:
    """A name beside each point where it covers no other name or point; left out where there is no such place."""
    taken: list[Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    found = []
    for (x, y), name in zip(places, names, strict=True):
        wide = len(name) * LETTER
        for left, middle, anchor in _candidates(x, y, wide):
            box = (left, middle - LINE / 2, left + wide, middle + LINE / 2)
            if _inside(box, bounds) and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                if abs(middle - y) > LINE:
                    found.append(line(x, y, x, middle + math.copysign(LINE / 2, y - middle), "leader"))
                found.append(text(left + SHARE[anchor] * wide, middle + 4, name, anchor, "name"))
                break
    return found


def _candidates(x: float, y: float, wide: float) -> Iterator[tuple[float, float, str]]:
    """Left end, middle height and anchor of a name: right or left of its point, above or below, then further away.

    The anchor is what lies nearest the point, as a name may be less wide than reckoned.
    """
    yield from ((x + 9, y, "start"), (x - 9 - wide, y, "end"))
    for away in (14, 28, 42, 56, 70):
        for middle in (y - away, y + away):
            yield from ((x - wide / 2, middle, "middle"), (x - 8, middle, "start"), (x + 8 - wide, middle, "end"))


def _inside(box: Box, bounds: Box) -> bool:
    return box[0] >= bounds[0] and box[1] >= bounds[1] and box[2] <= bounds[2] and box[3] <= bounds[3]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
