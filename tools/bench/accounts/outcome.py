"""What a run has found out, before it is a report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Outcome:
    """What came of one run. `cpu_s` is of `window_s` seconds, `warmup_cpu_s` of `warmup_s`; memory before anybody
    connected, at the end of the warm-up, and at the end. `timeline`: of a crowd only.
    """

    figures: list[dict[str, Any]] = field(default_factory=list)
    cpu_s: dict[str, float] = field(default_factory=dict)
    window_s: float = 0.0
    warmup_cpu_s: dict[str, float] = field(default_factory=dict)
    warmup_s: float = 0.0
    memory_before: dict[str, int] = field(default_factory=dict)
    memory_warm: dict[str, int] = field(default_factory=dict)
    memory_after: dict[str, int] = field(default_factory=dict)
    timeline: list[dict[str, Any]] = field(default_factory=list)
