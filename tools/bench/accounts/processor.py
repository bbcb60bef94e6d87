"""How much processor time and memory each process of a cluster takes, by psutil."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import psutil

MIB = 1024 * 1024


def processes_of(snapshot: Mapping[str, Any] | None) -> dict[str, int]:
    """Name -> pid of everything that a local stack runs."""
    if snapshot is None:
        return {}
    found = {
        entry["name"]: entry["pid"]
        for kind in ("access", "logic", "storage", "backends")
        for entry in snapshot.get(kind, ())
        if entry.get("pid")
    }
    if (snapshot.get("supervisor") or {}).get("pid"):
        found["supervisor"] = snapshot["supervisor"]["pid"]
    return found


def seconds_of(processes: Mapping[str, int]) -> dict[str, float]:
    """User and system time so far; one that has ended is left out."""
    times: dict[str, float] = {}
    for name, pid in processes.items():
        with contextlib.suppress(psutil.Error):
            used = psutil.Process(pid).cpu_times()
            times[name] = used.user + used.system
    return times


def used(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: round(after[name] - before[name], 3) for name in before if name in after}


def memory_of(processes: Mapping[str, int]) -> dict[str, int]:
    """Resident bytes; one that has ended is left out."""
    sizes: dict[str, int] = {}
    for name, pid in processes.items():
        with contextlib.suppress(psutil.Error):
            sizes[name] = psutil.Process(pid).memory_info().rss
    return sizes
