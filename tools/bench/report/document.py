"""The figures of a run as one document. Pure, but for what it says of the machine.

What of a run is counted, its unit, is a workload's: messages that were delivered, deliveries, entries, connections.
Processor time is told for 1,000 of them, and of each process; `cluster` is all but the load generator.
"""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from tools.bench.accounts.ledger import Tally
from tools.bench.accounts.outcome import Outcome
from tools.bench.accounts.samples import latencies, merged
from tools.bench.plan import CROWD, Plan
from tools.bench.report.crowd import crowd_figures

# workload -> (the samples or the count that is its unit, what one is called)
UNITS = {
    "direct": ("delivered", "message"),
    "signals": ("delivered", "signal"),
    "group": ("delivered", "delivery"),
    "mixed": ("delivered", "delivery"),
    "sync": ("entries", "entry"),
    "history": ("entries", "entry"),
    "connect": ("connected", "connection"),
    "idle": ("connections", "connection"),
    "crowd": ("connections", "connection"),
}
GENERATOR = "bench-"
LIBRARIES = ("grpcio", "aiokafka", "motor", "pymongo", "protobuf", "picows", "uvloop")
MIB = 1024 * 1024


def document(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """What build/bench.json holds."""
    results = outcome.figures
    tally = Tally()
    for result in results:
        tally.merge(Tally(**result["tally"]))
    elapsed_s = max((result["elapsed_s"] for result in results if "elapsed_s" in result), default=outcome.window_s)
    names = [name for name, told in results[0].items() if isinstance(told, dict) and "histogram" in told]
    speeds = {}
    for name in names:
        parts = [result[name] for result in results]
        per_s = sum(part["in_time"] for part in parts) / elapsed_s if elapsed_s else 0.0
        speeds[name] = {"per_s": round(per_s, 1), **latencies(merged(parts))}
    counts = _sums(result.get("counts", {}) for result in results)
    unit, unit_name = UNITS[plan.workload]
    counted = counts[unit] if unit in counts else sum(result[unit]["in_time"] for result in results)
    late = speeds.pop("late", {"count": 0})
    return {
        "workload": plan.workload,
        "loop": "closed" if plan.rate is None else "open",
        "plan": dataclasses.asdict(plan),
        "right": tally.right,
        "unit": unit_name,
        "units_per_s": round(counted / elapsed_s, 1) if elapsed_s else 0.0,
        "elapsed_s": round(elapsed_s, 3),
        **speeds,
        "counts": counts,
        "generator_late": late,
        "tally": dataclasses.asdict(tally),
        "cpu_s": dict(outcome.cpu_s),
        "cpu_percent": _percent(outcome.cpu_s, outcome.window_s),
        "cpu_us_per_message": {name: round(used / counted * 1e6, 1) for name, used in outcome.cpu_s.items()}
        if counted
        else {},
        "cpu_s_per_1000": per_thousand(outcome.cpu_s, counted),
        "memory_mb": {name: round(size / MIB, 1) for name, size in outcome.memory_after.items()},
        "memory_grown_kb": {
            name: round((outcome.memory_after[name] - size) / 1024)
            for name, size in outcome.memory_before.items()
            if name in outcome.memory_after
        },
        **_each(plan, outcome, counted),
        **(crowd_figures(outcome) if plan.workload == CROWD else {}),
        **surroundings(),
    }


def _each(plan: Plan, outcome: Outcome, counted: int) -> dict[str, float]:
    """What an idle connection costs the access nodes."""
    if plan.workload != "idle" or not counted:
        return {}
    grown = sum(
        outcome.memory_after[name] - size
        for name, size in outcome.memory_before.items()
        if name.startswith("access") and name in outcome.memory_after
    )
    cpu_s = sum(used for name, used in outcome.cpu_s.items() if name.startswith("access"))
    return {
        "access_kb_each": round(grown / counted / 1024, 2),
        "access_cpu_percent": round(100 * cpu_s / outcome.window_s, 2),
    }


def per_thousand(cpu_s: Mapping[str, float], counted: float) -> dict[str, float]:
    """Processor seconds per 1,000: of each process, of the load generator, of the cluster and of all."""
    if not counted:
        return {}
    generator = sum(used for name, used in cpu_s.items() if name.startswith(GENERATOR))
    whole = sum(cpu_s.values())
    shares = {name: used for name, used in cpu_s.items() if not name.startswith(GENERATOR)}
    shares |= {"cluster": whole - generator, "load generator": generator, "all": whole}
    return {name: round(used / counted * 1000, 4) for name, used in shares.items()}


def surroundings() -> dict[str, Any]:
    """The machine and the versions, for the record."""
    return {
        "machine": {
            "processors": os.cpu_count(),
            "processor": _processor(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "versions": {"tidings": _version("tidings-server"), **{name: _version(name) for name in LIBRARIES}},
    }


def _percent(cpu_s: Mapping[str, float], window_s: float) -> dict[str, float]:
    return {name: round(100 * used / window_s, 2) for name, used in cpu_s.items()} if window_s else {}


def _sums(counts: Any) -> dict[str, int]:
    sums: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            sums[name] = sums.get(name, 0) + count
    return sums


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
