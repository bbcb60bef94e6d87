"""What happened over a time as a picture (SVG), in panels one below the other. Pure: figures in, text out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, PANEL, GAP = 720, 150, 34
LEFT, RIGHT, TOP, BOTTOM = 80, 150, 50, 50
COLOURS = ("#1b6ca8", "#c0392b", "#2e8b57", "#b8860b", "#7d3c98", "#7f8c8d")
STEPS = 4  # of an axis, about


@dataclass(frozen=True, slots=True)
class Line:
    """Points (seconds, value), by rising time."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines with one unit; its axis begins at 0."""

    unit: str
    lines: Sequence[Line]


def panels(title: str, parts: Sequence[Panel]) -> str:
    """Raises ValueError if there is nothing to draw."""
    times = [at for part in parts for line in part.lines for at, _ in line.points]
    if not times:
        raise ValueError("a picture needs points")
    across = _Axis(max(times), LEFT, WIDTH - RIGHT)
    height = TOP + len(parts) * (PANEL + GAP) + BOTTOM - GAP
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f'<title>{escape(title)}</title><g font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="15">{escape(title)}</text>',
    ]
    for number, part in enumerate(parts):
        body += _drawn(part, across, TOP + number * (PANEL + GAP))
    middle = (LEFT + WIDTH - RIGHT) / 2
    body.append(f'<text x="{middle}" y="{height - 12}" text-anchor="middle">seconds</text>')
    return "\n".join([*body, "</g></svg>", ""])


@dataclass(frozen=True, slots=True)
class _Axis:
    """From 0 to a round value that is not below `most`."""

    most: float
    begin: float
    end: float

    @property
    def step(self) -> float:
        """The round value that makes about STEPS of them."""
        raw = max(self.most, 1e-9) / STEPS
        power = 10.0 ** math.floor(math.log10(raw))
        return float(next(power * each for each in (1, 2, 5, 10) if power * each >= raw * (1 - 1e-9)))

    @property
    def ticks(self) -> list[float]:
        return [self.step * number for number in range(math.ceil(self.most / self.step - 1e-9) + 1)]

    def at(self, value: float) -> float:
        return round(self.begin + value / max(self.ticks[-1], 1e-9) * (self.end - self.begin), 1)


def _drawn(part: Panel, across: _Axis, top: float) -> Iterator[str]:
    bottom, right = top + PANEL, WIDTH - RIGHT
    up = _Axis(max(value for line in part.lines for _, value in line.points), bottom, top)
    for value in up.ticks:
        y = up.at(value)
        yield f'<line x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="#dddddd"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{value:,g}</text>'
    for value in across.ticks:
        x = across.at(value)
        yield f'<line x1="{x}" y1="{top}" x2="{x}" y2="{bottom}" stroke="#eeeeee"/>'
        yield f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{value:,g}</text>'
    yield f'<text x="{LEFT}" y="{top - 8}">{escape(part.unit)}</text>'
    for number, line in enumerate(part.lines):
        yield from _line(line, across, up, top + 12 + 18 * number, COLOURS[number % len(COLOURS)])


def _line(line: Line, across: _Axis, up: _Axis, y: float, colour: str) -> Iterator[str]:
    places = " ".join(f"{across.at(at)},{up.at(value)}" for at, value in line.points)
    right = WIDTH - RIGHT + 15
    yield f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    yield f'<line x1="{right}" y1="{y}" x2="{right + 20}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
    yield f'<text x="{right + 26}" y="{y + 4}">{escape(line.name)}</text>'
