"""The standard set: the runs behind docs/performance.md, in the order in which they disturb each other least. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.bench.plan import Plan

MIX = {"direct": 0.7, "typing": 0.5, "read": 0.5, "history": 0.05, "reconnect": 0.02}
RATES = (50, 500, 1000, 2000, 4000)
SENDERS = (100, 1000, 5000)
FRESH = frozenset({"idle-ws", "idle-tcp"})  # the access nodes are new for these: memory is what they grow by
START = "start"
# One access node, as most of the systems of the comparison are one process; these runs are repeated on two.
TWO_NODES = {f"{name}-two-nodes": name for name in ("direct", "direct-50", "direct-500", "group-1000")}


def standard_set() -> dict[str, Plan]:
    """Runs by name; START is not among them, as it needs no cluster."""
    runs = {
        "idle-ws": _plan("idle", users=10_000, seconds=15, warmup_s=5),
        "idle-tcp": _plan("idle", users=10_000, seconds=15, warmup_s=5, transport="tcp"),
        "connect": _plan("connect", users=2000, window=200, seconds=8),
        "storm": _plan("connect", users=5000, window=5000, seconds=0, warmup_s=0),
        "direct": _plan("direct", users=200, window=4, seconds=12, warmup_s=3),
        "direct-tcp": _plan("direct", users=200, window=4, seconds=8, transport="tcp"),
        "direct-json": _plan("direct", users=200, window=4, seconds=8, json_clients=1.0),
    }
    runs |= {f"direct-{rate}": _plan("direct", users=200, window=4, seconds=8, rate=float(rate)) for rate in RATES}
    runs |= {
        f"senders-{count}": _plan("direct", users=count, seconds=8, warmup_s=2 + count / 1000) for count in SENDERS
    }
    runs |= {
        "signals": _plan("signals", users=200, window=4, seconds=8),
        "groups-of-5": _groups(40, 5, seconds=6),
        "groups-of-20": _groups(50, 20),
        "groups-of-50": _groups(10, 50, seconds=6),
        "group-100": _groups(1, 100, seconds=6),
        "group-1000": _groups(1, 1000),
        "group-10000": _groups(1, 10_000, seconds=6),
        "sync": _read("sync", 5, 101, messages=400, page=500),
        "history": _read("history", 10, 20, messages=500, page=50, seconds=8, warmup_s=2),
        "mixed": _plan("mixed", users=1000, seconds=20, rate=200.0, warmup_s=0, members=20, senders=20, mix=MIX),
    }
    return runs | {name: runs[original] for name, original in TWO_NODES.items()}


def load_curve(runs: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The open loops that the cluster kept up with, by rising load."""
    found = [runs[f"direct-{rate}"] for rate in RATES if f"direct-{rate}" in runs]
    return [run for run in found if run["acknowledged"]["count"] and keeps_up(run)]


def keeps_up(run: Mapping[str, Any]) -> bool:
    """Whether as much was delivered as was asked for."""
    return float(run["delivered"]["per_s"]) >= 0.95 * float(run["plan"]["rate"])


def _plan(workload: str, **own: Any) -> Plan:
    usual: dict[str, Any] = {"window": 1, "rate": None, "warmup_s": 2.0, "size_bytes": 128}
    return Plan(**{**usual, "processes": 1, "transport": "ws", "workload": workload, **own})


def _groups(groups: int, members: int, seconds: float = 8.0) -> Plan:
    return _plan("group", users=groups * members, members=members, senders=4, seconds=seconds)


def _read(workload: str, groups: int, members: int, **own: Any) -> Plan:
    usual: dict[str, Any] = {"seconds": 0.0, "warmup_s": 0.0}
    return _plan(workload, users=groups * members, members=members, senders=1, **{**usual, **own})
