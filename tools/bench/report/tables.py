"""A report as tables, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from tools.bench.accounts.samples import PERCENTILES
from tools.bench.report.compare import changes
from tools.bench.report.targets import TARGETS


def table(report: Mapping[str, Any]) -> RenderableType:
    """A report as tables for people."""
    parts: list[RenderableType] = []
    speeds = Table("milliseconds", "a second", "mean", *(f"p{percentile:g}" for percentile in PERCENTILES), "max")
    for name, row in report.items():
        if isinstance(row, Mapping) and "per_s" in row and (row["count"] or name != "generator_late"):
            keys = ("mean_ms", *(f"p{percentile:g}_ms" for percentile in PERCENTILES), "max_ms")
            speeds.add_row(
                name.replace("_", " "),
                f"{row['per_s']:,.0f}",
                *(f"{row[key]:g}" if row["count"] else "-" for key in keys),
            )
    if speeds.row_count:
        parts.append(speeds)
    fate = Table("message fate", "count")
    for name, count in report["tally"].items():
        if name != "errors":
            fate.add_row(name.replace("_", " "), f"{count:,}")
    for code, count in sorted(report["tally"]["errors"].items()):
        fate.add_row(f"answered {code}", f"{count:,}")
    for name, count in report["counts"].items():
        fate.add_row(name, f"{count:,}")
    unit = report["unit"]
    processors = Table("process", "CPU seconds", "% of a core", f"µs a{'n' if unit[0] in 'aeiou' else ''} {unit}", "MB")
    for name, used in sorted(report["cpu_s"].items()):
        processors.add_row(
            name,
            f"{used:.2f}",
            f"{report['cpu_percent'].get(name, 0):g}",
            f"{report['cpu_us_per_message'].get(name, 0):g}",
            f"{report['memory_mb'].get(name, 0):,.0f}",
        )
    whole = report["cpu_s_per_1000"]
    if whole:
        processors.caption = (
            f"CPU seconds per 1,000: cluster {whole['cluster']:g}, load generator {whole['load generator']:g}"
        )
    return Group(*parts, fate, processors)


def changes_table(old: Mapping[str, Any], new: Mapping[str, Any]) -> RenderableType:
    """The changes as a table for people; what is better is green."""
    shown = Table("figure", "then", "now", "ratio")
    for change in changes(old, new):
        style = {None: "", True: "green", False: "red"}[change.better]
        ratio = "-" if change.ratio is None else f"{change.ratio:.2f}"
        shown.add_row(change.name, f"{change.old:,g}", f"{change.new:,g}", ratio, style=style)
    return shown


def summary(report: Mapping[str, Any]) -> RenderableType:
    """A standard set as a table for people: each figure beside what it must be."""
    shown = Table("figure", "measured", "", "must", "aim", "")
    for target in TARGETS:
        try:
            value = target.value(report["runs"])
        except KeyError:
            continue
        verdict = target.verdict(value)
        style = {"aim": "green", "must": "", "no": "red"}[verdict]
        shown.add_row(
            target.name, f"{value:,.4g}", target.unit, f"{target.must:,g}", f"{target.aim:,g}", verdict, style=style
        )
    return shown
