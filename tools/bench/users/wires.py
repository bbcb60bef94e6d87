"""Which wire each user of a plan speaks. Pure."""

from __future__ import annotations

from tools.bench.plan import Plan
from tools.bench.users.frames import TCP, WS_JSON, WS_PROTO, Wire


def wire_of(plan: Plan, index: int) -> Wire:
    """The share of JSON clients is spread evenly over the users."""
    if plan.transport == "tcp":
        return TCP
    share = plan.json_clients
    return WS_JSON if int((index + 1) * share) > int(index * share) else WS_PROTO
