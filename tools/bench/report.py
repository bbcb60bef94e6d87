"""The figures of a run as one document and as a table. Pure, but for the clock of the machine's name."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from tools.bench.ledger import Tally
from tools.bench.plan import Plan
from tools.bench.samples import PERCENTILES, latencies, merged


def document(plan: Plan, results: Sequence[Mapping[str, Any]], cpu_s: Mapping[str, float]) -> dict[str, Any]:
    """What build/bench.json holds."""
    tally = Tally()
    for result in results:
        tally.merge(Tally(**result["tally"]))
    delivered = sum(result["delivered"]["in_time"] for result in results)
    return {
        "workload": plan.workload,
        "loop": "closed" if plan.rate is None else "open",
        "plan": dataclasses.asdict(plan),
        "right": tally.right,
        **{name: _speed(plan, [result[name] for result in results]) for name in ("acknowledged", "delivered")},
        "generator_late": latencies(merged(result["late"] for result in results)),
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


def _speed(plan: Plan, parts: Sequence[Mapping[str, Any]]) -> dict[str, float | int]:
    return {"per_s": round(sum(part["in_time"] for part in parts) / plan.seconds, 1), **latencies(merged(parts))}


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
