"""What the nodes of a site take while they serve: memory and CPU by kind, from their own metrics.

Does not know: how many of them there should be.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from tests.k8s.place.kube import Kube
from tests.k8s.place.site import KINDS

OPS_PORT = 8200
WANTED = {
    "process_resident_memory_bytes": "memory",
    "process_cpu_seconds_total": "cpu",
    "tidings_connections": "connections",
    "tidings_stored_total": "stored",
}


@dataclass(frozen=True, slots=True)
class Size:
    """The size of one kind: the mean of its nodes. `connections` and `messages_per_s` of all of them."""

    nodes: int
    memory_mib: float
    cpu_cores: float
    connections: int
    messages_per_s: float


async def sizes(kube: Kube, seconds: float) -> Mapping[str, Size]:
    """Over so many seconds."""
    before, began = await _all(kube), time.monotonic()
    await asyncio.sleep(seconds)
    after, took_s = await _all(kube), time.monotonic() - began
    return {kind: _size(before[kind], after[kind], took_s) for kind in KINDS}


def _size(before: Mapping[str, dict[str, float]], after: Mapping[str, dict[str, float]], took_s: float) -> Size:
    both = [(before[pod], now) for pod, now in after.items() if pod in before]

    def grown(name: str) -> float:
        return sum(now.get(name, 0.0) - then.get(name, 0.0) for then, now in both) / took_s

    return Size(
        nodes=len(both),
        memory_mib=round(sum(now["memory"] for _, now in both) / len(both) / 2**20),
        cpu_cores=round(grown("cpu") / len(both), 3),
        connections=round(sum(now.get("connections", 0.0) for _, now in both)),
        messages_per_s=round(grown("stored"), 1),
    )


async def _all(kube: Kube) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for kind in KINDS:
        pods = await kube.items("pods", f"--selector=app.kubernetes.io/component={kind}")
        names = [str(pod["metadata"]["name"]) for pod in pods]
        found[kind] = dict(zip(names, await asyncio.gather(*(_metrics(kube, name) for name in names)), strict=True))
    return found


async def _metrics(kube: Kube, pod: str) -> dict[str, float]:
    text = await kube.run("get", "--raw", f"/api/v1/namespaces/{kube.namespace}/pods/{pod}:{OPS_PORT}/proxy/metrics")
    totals: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if (name := WANTED.get(sample.name)) is not None:
                totals[name] = totals.get(name, 0.0) + sample.value
    return totals
