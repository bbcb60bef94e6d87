"""What a run of `crowd` is about: what a connection costs, and what the same connections cost with messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.bench.accounts.outcome import Outcome
from tools.bench.accounts.timeline import kinds_of

KIB, MIB = 1024, 1024 * 1024
ACCESS = "access"


def crowd_figures(outcome: Outcome) -> dict[str, Any]:
    """`idle`: from the last welcome to the first message; `busy`: with messages. Percent are of a core, by kind."""
    held = sum(result["counts"]["connections"] for result in outcome.figures)
    ramp_s = max(result["ramp_s"] for result in outcome.figures)
    warm, after = kinds_of(outcome.memory_warm), kinds_of(outcome.memory_after)
    before = kinds_of(outcome.memory_before)
    return {
        "access_nodes": sum(name.startswith(f"{ACCESS}-") for name in outcome.memory_before),
        "generator_processes": len(outcome.figures),
        "ramp": {"took_s": round(ramp_s, 1), "connects_per_s": round(held / ramp_s, 1)},
        "access_idle_kb_each": round((warm[ACCESS] - before[ACCESS]) / held / KIB, 2) if held else 0.0,
        "access_busy_kb_each": round((after[ACCESS] - before[ACCESS]) / held / KIB, 2) if held else 0.0,
        "idle_percent": _percent(outcome.warmup_cpu_s, outcome.warmup_s),
        "busy_percent": _percent(outcome.cpu_s, outcome.window_s),
        "memory_before_by_kind_mb": _megabytes(before),
        "memory_by_kind_mb": _megabytes(after),
        "timeline": outcome.timeline,
    }


def _percent(cpu_s: Mapping[str, float], window_s: float) -> dict[str, float]:
    if not window_s:
        return {}
    return {kind: round(100 * used / window_s, 1) for kind, used in kinds_of(cpu_s).items()}


def _megabytes(sizes: Mapping[str, float]) -> dict[str, int]:
    return {kind: round(size / MIB) for kind, size in sizes.items()}
