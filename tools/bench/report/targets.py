"""The figures that Tidings is to reach on two cores that also run the load generator and the backends. Pure.

`must` is what a change may not fall below, `aim` what the work goes on for. Both are for the standard set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Runs = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Target:
    """`value` looks into the runs of a set, and raises KeyError if they do not tell it."""

    name: str
    unit: str
    must: float
    aim: float
    more_is_better: bool
    value: Callable[[Runs], float]

    def verdict(self, value: float) -> str:
        for name, bound in (("aim", self.aim), ("must", self.must)):
            if value >= bound if self.more_is_better else value <= bound:
                return name
        return "no"


def _of(run: str, *path: str, divided_by: float = 1.0) -> Callable[[Runs], float]:
    def value(runs: Runs) -> float:
        found: Any = runs[run]
        for name in path:
            found = found[name]
        return float(found) / divided_by

    return value


def _share_of_json(runs: Runs) -> float:
    return 100 * float(runs["direct-json"]["delivered"]["per_s"]) / float(runs["direct"]["delivered"]["per_s"])


def _more(name: str, must: float, aim: float, value: Callable[[Runs], float], unit: str = "a second") -> Target:
    return Target(name, unit, must, aim, True, value)


def _less(name: str, must: float, aim: float, value: Callable[[Runs], float], unit: str = "ms") -> Target:
    return Target(name, unit, must, aim, False, value)


TARGETS = (
    _more("direct, closed loop: messages delivered live", 6000, 12_000, _of("direct", "delivered", "per_s")),
    _less("the same: CPU of all of Tidings and the backends", 0.28, 0.12, _of("direct", "cpu_s_per_1000", "cluster"),
          "s per 1,000"),
    _less("direct at 500 a second: acknowledged, p50", 10, 6, _of("direct-500", "acknowledged", "p50_ms")),
    _less("the same, p99", 50, 25, _of("direct-500", "acknowledged", "p99_ms")),
    _less("direct at 500 a second: delivered, p50", 13, 8, _of("direct-500", "delivered", "p50_ms")),
    _less("the same, p99", 60, 30, _of("direct-500", "delivered", "p99_ms")),
    _less("direct at 50 a second: acknowledged, p50", 12, 6, _of("direct-50", "acknowledged", "p50_ms")),
    _less("the same: delivered, p50", 15, 6, _of("direct-50", "delivered", "p50_ms")),
    _less("100 senders at once: acknowledged, mean", 30, 12, _of("senders-100", "acknowledged", "mean_ms")),
    _less("1,000 senders at once: acknowledged, mean", 150, 90, _of("senders-1000", "acknowledged", "mean_ms")),
    _less("5,000 senders at once: acknowledged, mean", 800, 450, _of("senders-5000", "acknowledged", "mean_ms")),
    _more("signals: delivered", 12_000, 28_500, _of("signals", "delivered", "per_s")),
    _more("groups of 20, all online: messages", 800, 2000, _of("groups-of-20", "delivered", "per_s", divided_by=19)),
    _more("a group of 1,000 online: deliveries", 60_000, 200_000, _of("group-1000", "delivered", "per_s")),
    _less("the same: CPU", 0.015, 0.0048, _of("group-1000", "cpu_s_per_1000", "cluster"), "s per 1,000"),
    _less("10,000 idle, WebSocket: access memory each", 12, 8.6, _of("idle-ws", "access_kb_each"), "KB"),
    _less("10,000 idle, TCP: access memory each", 5, 3, _of("idle-tcp", "access_kb_each"), "KB"),
    _less("10,000 idle, heartbeats on: access CPU", 6, 3, _of("idle-ws", "access_cpu_percent"), "% of a core"),
    _more("a storm of 5,000: connect, authenticate, welcome", 1200, 3000, _of("storm", "units_per_s")),
    _less("the same: CPU", 0.8, 0.25, _of("storm", "cpu_s_per_1000", "cluster"), "s per 1,000"),
    _more("catching up, 500 users at once: messages", 20_000, 60_000, _of("sync", "units_per_s")),
    _more("JSON clients instead of protobuf, direct", 75, 90, _share_of_json, "% of it"),
    _less("`tidings up` to ready, after the first", 15, 8, _of("start", "ready_s"), "s"),
)  # fmt: skip
