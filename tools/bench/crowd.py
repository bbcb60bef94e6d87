"""The workload `crowd` from outside: its plan, and a cluster of its own of the size that it needs."""

from __future__ import annotations

from math import ceil
from typing import Any

from tools.bench.homes import access_needed
from tools.bench.own_cluster import OwnCluster
from tools.bench.plan import CROWD, OF_A_PROCESS_MAX, Plan
from tools.bench.run import run
from tools.cli.failure import WrongUse
from tools.cli.output import notes
from tools.cli.target import find

SIZE_BYTES = 128


def crowd_plan(connections: int, seconds: float, idle_s: float, per_second: float, at_once: int) -> Plan:
    """Raises WrongUse."""
    processes = max(2, ceil(connections / OF_A_PROCESS_MAX))
    try:
        return Plan(CROWD, connections, at_once, seconds, per_second, idle_s, SIZE_BYTES, processes, "ws")
    except ValueError as error:
        raise WrongUse(f"{error}.", "See `tidings bench crowd --help`.") from error


def measured(plan: Plan, own: OwnCluster, access: int) -> dict[str, Any]:
    """The report; the cluster is removed whatever happens. Raises Failure."""
    nodes = access or access_needed(plan.users)
    notes.print(f"a cluster of its own with {nodes} access nodes starts …")
    with own.removed_after():
        own.up(nodes)
        return run(plan, find(own.data))
