"""What /debug/state shows of an access node: sessions, slots, lanes, lags, visits, as plain values.

Does not know: HTTP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from services.access.cluster.rebalance import Rebalance
from services.access.cluster.registration import Registration
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.connections import Connections
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.delivery.mailbox import Mailbox
from services.access.placement.visit_calls import VisitCalls
from services.access.presence.watching import Watching
from services.access.session.session import Phase
from services.common.cluster import Cluster
from services.common.lanes.lane import Lanes

SHOWN_MAX = 20


def debug_state(
    connections: Connections,
    hub: Hub[Connection],
    registration: Registration,
    cluster: Cluster,
    visit_calls: VisitCalls,
    forwarding: ForwardingTable,
    mailbox: Mailbox,
    rebalance: Rebalance,
    lanes: Iterable[Lanes[Any, Any]],
    watching: Watching,
    handshakes: Callable[[], int],
) -> dict[str, Any]:
    """All that one looks for first."""
    record = registration.record
    phases = Counter(connection.session.phase.name.lower() for connection in connections)
    return {
        "node": record.name,
        "boot_id": record.boot_id,
        "state": record.state,
        "connections": len(connections),
        "phases": dict(phases),
        "handshakes": handshakes(),
        "sessions": connections.sessions,
        "idle": connections.idle_sessions(),
        "users": len(hub),
        "large_groups": hub.group_count,
        "slots": cluster.ring("access").owners.count(record.name),
        "ring": sorted(cluster.ring("access").members),
        "membership_revision": cluster.membership.revision,
        "visits": {"confirmed": len(visit_calls.visits), "failed": visit_calls.failed, "waiting": visit_calls.depth},
        "visitors_elsewhere": len(forwarding),
        "moves_waiting": rebalance.waiting,
        "watched_users": len(watching.presence.watchers),
        "watched_profiles": len(watching.profiles.watchers),
        "mailbox": mailbox.state,
        "lanes": {each.name: {"depth": each.depth, "capacity": each.capacity} for each in lanes},
        "wheel": len(connections.wheel),
        "slow_consumers": sum(connection.delivery.paused for connection in connections),
        "opening": [each.session_id for each in connections if each.session.phase is Phase.OPENING][:SHOWN_MAX],
        "unanswered": sum(connection.session.unanswered for connection in connections),
        "held_frames": sum(connection.session.held for connection in connections),
    }
