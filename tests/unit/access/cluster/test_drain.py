"""Goodbyes at a pace: whom they reach, and what they say."""

from __future__ import annotations

import pytest

from services.access.cluster.drain import Farewell, pace_for
from services.access.placement.placement import Placement
from services.access.session.session import Phase
from services.common.registry.contract import NodeIncarnation, NodeRecord
from services.common.ring import Ring
from tests.support.network.port import FakeNode
from tests.unit.access.fakes import Client, open_client

NODES = {
    name: NodeRecord(
        name=name, kind="access", boot_id=f"boot-{name}", rpc="", ws=f"ws://{name}", tcp=f"{name}:1", state="ready"
    )
    for name in ("access-0", "access-1")
}
RING = Ring.build(dict.fromkeys(NODES, 1.0))
FAST = 1e9


def placement(ring: Ring = RING) -> Placement:
    me = NodeIncarnation("access-0", "boot-access-0")
    return Placement("ring", me=lambda: me, ring=lambda: ring, node=NODES.get)


def farewell(ring: Ring = RING) -> Farewell:
    return Farewell(placement(ring))


def test_a_node_that_leaves_names_the_one_that_follows() -> None:
    user = next(name for name in map("user{}".format, range(1000)) if RING.owner_of(name) == "access-0")
    assert placement().next_address(user, "tcp") == "access-1:1"
    assert placement(Ring.build({"access-0": 1.0})).next_address("ann", "ws") == ""


async def test_a_client_is_told_the_node_that_follows_and_when_to_come() -> None:
    client = open_client()
    await farewell().say([client.connection], FAST)
    goodbye = client.goodbye
    assert goodbye is not None
    assert (goodbye.code, goodbye.address) == (4000, "access-1:1")
    assert 100 <= goodbye.retry_after_ms < 1600


async def test_what_is_under_way_is_answered_first_unless_there_is_no_hope() -> None:
    class Silent(FakeNode):
        def take(self, *_: object) -> None: ...

    patient, hurried = open_client(node=Silent()), open_client(node=Silent())
    for client in (patient, hurried):
        client.say(id=7, sync={})
    await farewell().say([patient.connection], FAST)
    assert [frame.WhichOneof("body") for frame in patient.answers] == []
    patient.connection.answered("sync")
    assert patient.goodbye is not None
    await farewell().say([hurried.connection], FAST, at_once=True)
    assert hurried.goodbye is not None


async def test_who_may_come_back_is_sent_to_the_owner_of_its_user() -> None:
    only_here = farewell(Ring.build({"access-0": 1.0}))
    client = open_client()
    await only_here.say([client.connection], FAST, staying=True)
    goodbye = client.goodbye
    assert goodbye is not None
    assert goodbye.address == "", "that is this node"


async def test_who_is_not_welcomed_yet_is_turned_away_and_who_is_leaving_is_left_alone() -> None:
    early, leaving = Client(FakeNode()), open_client()
    leaving.say(bye={})
    frames = list(leaving.wire.frames)
    await farewell().say([early.connection, leaving.connection], FAST)
    goodbye = early.goodbye
    assert goodbye is not None
    assert goodbye.code == 4003
    assert early.connection.session.phase is Phase.CLOSING
    assert leaving.wire.frames == frames


def test_a_drain_is_never_so_slow_that_its_deadline_would_be_missed() -> None:
    assert pace_for(10, asked_per_s=0, setting_per_s=200, deadline_s=30) == 200
    assert pace_for(18_000, asked_per_s=0, setting_per_s=200, deadline_s=30) == pytest.approx(1000)
    assert pace_for(18_000, asked_per_s=5, setting_per_s=200, deadline_s=30) == 5
