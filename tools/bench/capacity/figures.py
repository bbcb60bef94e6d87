"""What things cost, as `make bench` measured it: microseconds of processor time, bytes. Pure.

A message costs each part something by itself, and something for each user who gets it. The two are told apart by two
runs: direct messages (1 recipient) and groups of 20 (19 recipients).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PARTS = ("access", "logic", "storage", "kafka", "mongodb", "etcd")
GROUP_RECIPIENTS = 19
KB, MB = 1024, 1024 * 1024

Costs = Mapping[str, float]  # part -> microseconds


@dataclass(frozen=True, slots=True)
class Figures:
    """Costs in µs of processor time; of `idle` a second and connection."""

    message: Costs
    recipient: Costs  # of a stored message in an inbox, delivered live
    large_recipient: Costs  # of a message to a large group
    signal: Costs
    connection: Costs
    synced: Costs
    idle: Costs
    session_change_us: float  # of each access node, for every session in the cluster that begins or ends
    broadcast_message_us: float  # of each access node, for every message to a large group, members or not
    idle_bytes: Mapping[str, float]  # ws, tcp
    base_bytes: Costs  # of a process without connections
    message_bytes: float  # of a stored message beside its text, with its index keys
    inbox_bytes: float
    measured: str


def figures_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """The figures from a report of the standard set. Raises KeyError if a run is missing."""
    runs = report["runs"]
    direct, group = _costs(runs["direct"]), _costs(runs["groups-of-20"])
    recipient = {
        part: max(0.0, (GROUP_RECIPIENTS * group[part] - direct[part]) / (GROUP_RECIPIENTS - 1)) for part in PARTS
    }
    idle = runs["idle-ws"]
    connections = idle["counts"]["connections"]
    return {
        "message": {part: round(max(0.0, direct[part] - recipient[part]), 2) for part in PARTS},
        "recipient": {part: round(recipient[part], 2) for part in PARTS},
        "large_recipient": _costs(runs["group-1000"]),
        "signal": _costs(runs["signals"]),
        "connection": _costs(runs["connect"]),
        "synced": _costs(runs["sync"]),
        "idle": {part: round(_sum(idle["cpu_percent"], part) * 1e4 / connections, 3) for part in PARTS},
        "idle_bytes": {
            "ws": round(idle["access_kb_each"] * KB),
            "tcp": round(runs["idle-tcp"]["access_kb_each"] * KB),
        },
        "base_bytes": {
            part: round(max(_of(report["memory_at_start_mb"], part).values(), default=0.0) * MB) for part in PARTS
        },
        **report["costs"],
        "measured": f"{report['machine']['processors']} × {report['machine']['processor']}",
    }


def read(document: Mapping[str, Any]) -> Figures:
    """What `figures_of` made. Raises TypeError if it is something else."""
    return Figures(**document)


def _costs(run: Mapping[str, Any]) -> dict[str, float]:
    """µs of each part for one unit of a run, all its processes together."""
    return {part: round(_sum(run["cpu_us_per_message"], part), 2) for part in PARTS}


def _sum(values: Mapping[str, float], part: str) -> float:
    return sum(_of(values, part).values())


def _of(values: Mapping[str, float], part: str) -> dict[str, float]:
    return {name: value for name, value in values.items() if name == part or name.startswith(f"{part}-")}
