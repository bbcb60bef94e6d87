"""The figures of a run as one document and as a table. Pure, but for the clock of the machine's name."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
from rich.console import Group, RenderableType
from rich.table import Table

from tools.bench.ledger import Tally
from tools.bench.plan import Plan

PERCENTILES = (50.0, 90.0, 99.0, 99.9)
HIGHEST_US = 120_000_000
DIGITS = 3


def document(plan: Plan, results: Sequence[Mapping[str, Any]], cpu_s: Mapping[str, float]) -> dict[str, Any]:
    """What build/bench.json holds."""
    tally = Tally()
    for result in results:
        tally.merge(Tally(**result["tally"]))
    delivered = sum(result["delivered_in_time"] for result in results)
    return {
        "workload": plan.workload,
        "loop": "closed" if plan.rate is None else "open",
        "plan": dataclasses.asdict(plan),
        "right": tally.right,
        "acknowledged": {
            "per_s": round(sum(result["acknowledged_in_time"] for result in results) / plan.seconds, 1),
            **latencies(value for result in results for value in result["acknowledged_us"]),
        },
        "delivered": {
            "per_s": round(delivered / plan.seconds, 1),
            **latencies(value for result in results for value in result["delivered_us"]),
        },
        "tally": dataclasses.asdict(tally),
        "cpu_s": dict(cpu_s),
        "cpu_us_per_message": {name: round(used / delivered * 1e6, 1) for name, used in cpu_s.items()}
        if delivered
        else {},
        "machine": {
            "processors": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
    }


def latencies(values_us: Iterable[int]) -> dict[str, float | int]:
    """Of a message from when it was due; milliseconds."""
    histogram = HdrHistogram(1, HIGHEST_US, DIGITS)
    count = 0
    for value in values_us:
        histogram.record_value(max(1, min(value, HIGHEST_US)))
        count += 1
    if not count:
        return {"count": 0}
    told: dict[str, float | int] = {"count": count}
    for percentile in PERCENTILES:
        told[f"p{percentile:g}_ms"] = round(histogram.get_value_at_percentile(percentile) / 1000, 2)
    told["max_ms"] = round(histogram.get_max_value() / 1000, 2)
    return told


def table(report: Mapping[str, Any]) -> RenderableType:
    """For people."""
    speeds = Table("", "per second", *(f"p{percentile:g} ms" for percentile in PERCENTILES), "max ms")
    for name in ("acknowledged", "delivered"):
        row = report[name]
        speeds.add_row(
            name,
            f"{row['per_s']:,.0f}",
            *(f"{row[f'p{percentile:g}_ms']:g}" if row["count"] else "-" for percentile in PERCENTILES),
            f"{row['max_ms']:g}" if row["count"] else "-",
        )
    fate = Table("message fate", "count")
    for name, count in report["tally"].items():
        if name != "errors":
            fate.add_row(name.replace("_", " "), f"{count:,}")
    for code, count in sorted(report["tally"]["errors"].items()):
        fate.add_row(f"answered {code}", f"{count:,}")
    processors = Table("process", "CPU seconds", "µs a message")
    for name, used in sorted(report["cpu_s"].items()):
        processors.add_row(name, f"{used:.2f}", f"{report['cpu_us_per_message'].get(name, 0):g}")
    return Group(speeds, fate, processors)
