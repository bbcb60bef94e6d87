"""What /debug/state shows of an access node: sessions, slots, lanes, lags, visits, as plain values.

Does not know: HTTP.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from services.access.cluster.rebalance import Rebalance
from services.access.cluster.registration import Registration
from services.access.connection.session import Phase
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.delivery.mailbox import Mailbox
from services.access.node import Node
from services.access.placement.registrar import OwnerRegistrar
from services.access.presence.notifier import PresenceNotifier
from services.access.requests.requests import Requests
from services.common.cluster import Cluster

SHOWN_MAX = 20


def debug_state(
    node: Node,
    registration: Registration,
    cluster: Cluster,
    visiting: OwnerRegistrar,
    guests: ForwardingTable,
    mailbox: Mailbox,
    rebalance: Rebalance,
    requests: Requests,
    watching: PresenceNotifier,
) -> dict[str, Any]:
    """All that one looks for first."""
    record = registration.record
    phases = Counter(connection.session.phase.name.lower() for connection in node.connections)
    return {
        "node": record.name,
        "boot_id": record.boot_id,
        "state": record.state,
        "connections": len(node.connections),
        "phases": dict(phases),
        "sessions": node.sessions,
        "idle": node.idle_sessions(),
        "users": len(node.hub),
        "large_groups": node.hub.group_count,
        "slots": cluster.ring("access").owners.count(record.name),
        "ring": sorted(cluster.ring("access").members),
        "membership_revision": cluster.membership.revision,
        "visits": {"confirmed": len(visiting.registrations), "failed": visiting.failed, "waiting": visiting.depth},
        "guests": len(guests),
        "moves_waiting": rebalance.waiting,
        "watched_users": len(watching.watchers),
        "mailbox": mailbox.state,
        "lanes": {
            lanes.name: {"depth": lanes.depth, "capacity": lanes.capacity} for lanes in (*requests.lanes, node.closes)
        },
        "wheel": len(node.wheel),
        "slow_consumers": sum(connection.session.outbox.paused for connection in node.connections),
        "opening": [each.session_id for each in node.connections if each.session.phase is Phase.OPENING][:SHOWN_MAX],
        "unanswered": sum(connection.session.unanswered for connection in node.connections),
        "held_frames": sum(connection.session.held for connection in node.connections),
    }
