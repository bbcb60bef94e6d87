"""What /debug/state shows, from plain parts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from services.access.connection.abuse_tracker import AbuseTracker
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.connections import Connections
from services.access.debug_state import SHOWN_MAX, debug_state
from services.access.session.limits import LimitPolicy
from services.common.clock import ManualClock
from services.common.registry.contract import NOBODY
from services.common.ring import Ring
from tests.support.network.port import FakeNode
from tests.unit.access.fakes import Client
from tidings_protocol import client_pb2


class Hesitant(FakeNode):
    """Stores no session."""

    def store(self, connection: Connection) -> None: ...


def shown(connections: Connections, hub: Hub[Connection]) -> dict[str, Any]:
    ring = Ring.build({"access-0": 1.0, "access-1": 1.0})
    parts: Any = SimpleNamespace(
        record=SimpleNamespace(name="access-0", boot_id="b", state="ready"),
        ring=lambda kind: ring,
        membership=NOBODY,
        visits={"ann": None},
        failed=1,
        depth=2,
        state={"deaf": False},
        waiting=3,
        presence=SimpleNamespace(watchers={"bob": None}),
        profiles=SimpleNamespace(watchers={"bob": None, "cid": None}),
    )
    lanes = [cast("Any", SimpleNamespace(name="send", depth=4, capacity=5))]
    return debug_state(
        connections, hub, parts, parts, parts, cast("Any", ["visitor"]), parts, parts, lanes, parts, lambda: 6
    )


def test_it_counts_what_one_looks_for_first() -> None:
    hub, clock = Hub[Connection](), ManualClock(1000.0)
    connections = Connections(hub, AbuseTracker(LimitPolicy()), clock)
    node = Hesitant()
    node.connections, node.wheel = cast("Any", connections), connections.wheel
    for _ in range(SHOWN_MAX + 1):
        client = Client(node)
        client.say(id=1, hello=client_pb2.Hello(token="t", device="d"))
        client.say(id=2, ping=client_pb2.Ping())
    state = shown(connections, hub)
    assert state["phases"] == {"opening": SHOWN_MAX + 1}
    assert state["opening"] == ["s"] * SHOWN_MAX
    assert (state["held_frames"], state["unanswered"], state["slow_consumers"]) == (SHOWN_MAX + 1, 0, 0)
    assert state["visits"] == {"confirmed": 1, "failed": 1, "waiting": 2}
    assert state["lanes"] == {"send": {"depth": 4, "capacity": 5}}
    assert (state["visitors_elsewhere"], state["moves_waiting"]) == (1, 3)
    assert (state["watched_users"], state["watched_profiles"], state["handshakes"]) == (1, 2, 6)
    assert 0 < state["slots"] < 4096
    assert state["ring"] == ["access-0", "access-1"]
