"""Pictures of the dashboards, drawn from a real Prometheus: each panel with the answers to its own queries.

Not Grafana's drawing, but its layout, units, colours of limits and queries. Made by hand (`make pictures`) while a
cluster is under load; matplotlib is a group of its own that `make pictures` installs.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.cli.failure import Failure
from tools.make.monitoring import programs
from tools.make.monitoring.boards import BOARDS
from tools.make.monitoring.grafana import COLUMNS
from tools.make.monitoring.model import Board, Kind, Panel, Query, Source
from tools.make.monitoring.promql import filled
from tools.make.monitoring.server import Prometheus, targets_of, watching

STEP_S = 2.0
WINDOW = "15s"
CELL_W, CELL_H = 0.56, 0.27  # inches of a column and of a row of Grafana's grid
DPI = 96
SERIES_MAX = 12
LEGEND_MAX = 6
COLOURS = {"green": "#3d9a50", "orange": "#e0752d", "red": "#c4162a"}
RULES = Path(__file__).resolve().parents[3] / "deploy" / "prometheus" / "rules"


def draw(data: Path, target: Path, seconds: float) -> None:
    """Watches the cluster in that data folder for so long, then draws. Raises Failure if it does not run."""
    status = _status(data)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        watch = watching(programs.fetch(), targets_of(status), Path(folder), sorted(RULES.glob("*.yaml")))
        with watch as prometheus:
            sys.stderr.write(f"Watching for {seconds:g} s: put the cluster under load now …\n")
            time.sleep(seconds)
            end = time.time()
            for board in BOARDS:
                if any(query.source is Source.PROMETHEUS for panel in board.panels() for query in panel.queries):
                    file = target / f"{board.uid}.png"
                    _draw_board(board, prometheus, end - seconds + 10, end, file)
                    sys.stderr.write(f"{file}\n")


def _status(data: Path) -> dict[str, Any]:
    program = Path(sys.executable).with_name("tidings")
    done = subprocess.run(
        [program, "status", "--json", "--data", data], capture_output=True, text=True, check=False, timeout=60
    )
    status: dict[str, Any] = json.loads(done.stdout or "{}")
    if not status.get("running"):
        raise Failure(f"No cluster runs on {data}.", "Start one with `tidings up`, or name its folder by --data.")
    return status


def _draw_board(board: Board, prometheus: Prometheus, start: float, end: float, file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"font.size": 6, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.5})
    from matplotlib import pyplot as plt

    places, height = _layout(board)
    figure = plt.figure(figsize=(COLUMNS * CELL_W, height * CELL_H), dpi=DPI)
    try:
        for text, top in places["rows"]:
            figure.text(0.008, 1 - (top + 0.75) / height, text, fontsize=8, weight="bold", color="#444444")
        for panel, left, top in places["panels"]:
            box = (
                (left + 0.75) / COLUMNS,
                1 - (top + panel.height - 1.1) / height,
                (panel.width - 1.1) / COLUMNS,
                (panel.height - 2.3) / height,
            )
            _draw_panel(figure.add_axes(box), panel, prometheus, start, end)
        figure.savefig(file)
        _shrink(file)
    finally:
        plt.close(figure)


def _layout(board: Board) -> tuple[dict[str, list[Any]], int]:
    """Where Grafana has the rows and panels, and the height of it all."""
    rows: list[Any] = []
    panels: list[Any] = []
    top = 0
    for row in board.rows:
        rows.append((row.title, top))
        top, left, lowest = top + 1, 0, top + 1
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left = lowest, 0
            panels.append((panel, left, top))
            left, lowest = left + panel.width, max(lowest, top + panel.height)
        top = lowest
    return {"rows": rows, "panels": panels}, top


def _draw_panel(axes: Any, panel: Panel, prometheus: Prometheus, start: float, end: float) -> None:
    axes.set_title(panel.title, loc="left", fontsize=7)
    found = [line for query in panel.queries for line in _lines(query, prometheus, start, end)][:SERIES_MAX]
    if not found:
        axes.text(0.5, 0.5, "no data", ha="center", va="center", color="#999999", transform=axes.transAxes)
        axes.set_axis_off()
        return
    match panel.kind:
        case Kind.STAT | Kind.TABLE:
            _write_values(axes, panel, found)
        case Kind.BARS:
            _draw_bars(axes, panel, found)
        case _:
            _draw_lines(axes, panel, found, start)


Line = tuple[str, list[float], list[float]]


def _lines(query: Query, prometheus: Prometheus, start: float, end: float) -> list[Line]:
    variables = {"cluster": "local", "node": ".+", "__rate_interval": WINDOW}
    series = prometheus.query_range(filled(query.expr, variables), start, end, STEP_S)
    return [
        (
            _legend(query.legend, each["metric"]),
            [float(at) - start for at, _ in each["values"]],
            [float(value) for _, value in each["values"]],
        )
        for each in series
    ]


def _legend(text: str, labels: Mapping[str, str]) -> str:
    for name, value in labels.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def _draw_lines(axes: Any, panel: Panel, lines: list[Line], start: float) -> None:
    if panel.kind is Kind.STACKED:
        times = sorted({at for _, moments, _ in lines for at in moments})
        rows = [[_at(line, moment) for moment in times] for line in lines]
        names = [name for name, _, _ in lines]
        axes.stackplot(times, rows, labels=names, alpha=0.7, linewidth=0)
    else:
        for name, moments, values in lines:
            axes.plot(moments, values, label=name, linewidth=0.9)
    axes.margins(y=0.15)
    axes.set_ylim(bottom=0)
    if panel.top is not None:
        axes.set_ylim(top=panel.top)
    elif axes.get_ylim()[1] <= 0.06 and all(not any(values) for _, _, values in lines):
        axes.set_ylim(top=1)
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, panel.unit))
    axes.xaxis.set_major_formatter(lambda value, _: time.strftime("%H:%M:%S", time.gmtime(start + value)))
    axes.locator_params(nbins=4)
    axes.tick_params(width=0.4, length=2, pad=1)
    axes.grid(visible=True, linewidth=0.2)
    # Those that say something first: a legend of noughts tells nothing.
    handles, names = axes.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda place: -_most(lines[place][2]))[:LEGEND_MAX]
    axes.legend(
        [handles[place] for place in order],
        [names[place] for place in order],
        fontsize=5,
        ncols=4,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.09),
        frameon=False,
        handlelength=1,
    )


def _at(line: Line, moment: float) -> float:
    _, moments, values = line
    value = values[moments.index(moment)] if moment in moments else 0.0
    return 0.0 if math.isnan(value) else value


def _draw_bars(axes: Any, panel: Panel, lines: list[Line]) -> None:
    names, values = [name for name, _, _ in lines], [_last(values) for _, _, values in lines]
    axes.barh(range(len(names)), values, color=[_colour(panel, value) for value in values], height=0.6)
    axes.set_xlim(0, panel.top or max([*values, 1e-9]))
    for place, value in enumerate(values):
        axes.text(0, place, f" {names[place]}: {shown(value, panel.unit)}", va="center", fontsize=6)
    axes.set_yticks([])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: shown(value, panel.unit))
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(width=0.4, length=2, pad=1)


def _write_values(axes: Any, panel: Panel, lines: list[Line]) -> None:
    axes.set_axis_off()
    for place, (name, _, values) in enumerate(lines):
        value = _last(values)
        middle = 1 - (place + 0.5) / len(lines)
        label = f"{name}: " if len(lines) > 1 else ""
        size = 13 if len(lines) == 1 else 7
        axes.text(0.5, middle, f"{label}{shown(value, panel.unit)}", ha="center", va="center", fontsize=size,
                  color=_colour(panel, value), transform=axes.transAxes)  # fmt: skip


def _most(values: list[float]) -> float:
    return max((value for value in values if not math.isnan(value)), default=0.0)


def _last(values: list[float]) -> float:
    return next((value for value in reversed(values) if not math.isnan(value)), 0.0)


def _colour(panel: Panel, value: float) -> str:
    colour = "#33557f"
    for limit, name in panel.limits:
        if value >= limit:
            colour = COLOURS[name]
    return colour


def shown(value: float, unit: str) -> str:
    """The value about as Grafana writes it."""
    match unit:
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "s":
            return f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
        case "bytes" | "Bps":
            ending = "/s" if unit == "Bps" else ""
            for factor, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
                if abs(value) >= factor:
                    return f"{value / factor:.3g} {name}{ending}"
            return f"{value:.3g} B{ending}"
        case "ops" | "reqps" | "mps" | "wps" | "recps":
            return f"{_short(value)}/s"
        case _:
            return _short(value)


def _short(value: float) -> str:
    return f"{value / 1000:.3g}K" if abs(value) >= 1000 else f"{value:.3g}"


def _shrink(file: Path) -> None:
    """A palette is enough for lines and text, and a third of the size."""
    from PIL import Image

    with Image.open(file) as picture:
        small = picture.convert("RGB").quantize(64)
    small.save(file, optimize=True)
