"""Latency over load as a picture (SVG). Pure: figures in, text out; both axes are logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 170, 40, 60
COLOURS = ("#1b6ca8", "#7fb3d9", "#c0392b", "#e8a29a")


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (load, milliseconds), by rising load."""

    name: str
    points: Sequence[tuple[float, float]]


def picture(title: str, across: str, up: str, curves: Sequence[Curve]) -> str:
    """Raises ValueError if there is nothing to draw."""
    points = [point for curve in curves for point in curve.points]
    if not points or min(min(point) for point in points) <= 0:
        raise ValueError("a picture needs points, all above 0")
    horizontal = _Scale.over([load for load, _ in points], LEFT, WIDTH - RIGHT)
    vertical = _Scale.over([ms for _, ms in points], HEIGHT - BOTTOM, TOP)
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f'<title>{escape(title)}</title><g font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
        *_axes(horizontal, vertical, across, up),
    ]
    for number, curve in enumerate(curves):
        body += _curve(curve, horizontal, vertical, number)
    return "\n".join([*body, "</g></svg>", ""])


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    begin: float
    end: float

    @staticmethod
    def over(values: Sequence[float], begin: float, end: float) -> _Scale:
        """An axis from the round value below the least to the one above the greatest."""
        ticks = list(_round_values(min(values), max(values)))
        return _Scale(ticks[0], ticks[-1], begin, end)

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(self.begin + share * (self.end - self.begin), 1)

    @property
    def ticks(self) -> list[float]:
        return list(_round_values(self.low, self.high))


def _round_values(low: float, high: float) -> Iterator[float]:
    """1, 2, 5, 10, 20 …: the last that is not above `low`, all within, and the first that is not below `high`."""
    exponent = math.floor(math.log10(low))
    values = [step * 10.0**power for power in range(exponent, math.ceil(math.log10(high)) + 2) for step in (1, 2, 5)]
    first = max(place for place, value in enumerate(values) if value <= low * (1 + 1e-9))
    last = next(place for place, value in enumerate(values) if value >= high * (1 - 1e-9) and place > first)
    yield from values[first : last + 1]


def _axes(horizontal: _Scale, vertical: _Scale, across: str, up: str) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value in vertical.ticks:
        y = vertical.at(value)
        yield f'<line x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="#dddddd"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{value:,g}</text>'
    for value in horizontal.ticks:
        x = horizontal.at(value)
        yield f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{bottom}" stroke="#eeeeee"/>'
        yield f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{value:,g}</text>'
    middle = (TOP + bottom) / 2
    yield f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 15}" text-anchor="middle">{escape(across)}</text>'
    yield f'<text transform="translate(18 {middle}) rotate(-90)" text-anchor="middle">{escape(up)}</text>'


def _curve(curve: Curve, horizontal: _Scale, vertical: _Scale, number: int) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    places = [(horizontal.at(load), vertical.at(ms)) for load, ms in curve.points]
    line = " ".join(f"{x},{y}" for x, y in places)
    y = TOP + 20 * number
    right = WIDTH - RIGHT + 15
    return [
        f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in places),
        f'<line x1="{right}" y1="{y}" x2="{right + 20}" y2="{y}" stroke="{colour}" stroke-width="2"/>',
        f'<text x="{right + 26}" y="{y + 4}">{escape(curve.name)}</text>',
    ]
