"""Where a user belongs, and where a client is sent."""

from __future__ import annotations

from typing import Literal

import pytest

from services.access.placement.placement import Placement
from services.common.registry.contract import NodeIncarnation, NodeRecord
from services.common.ring import Ring
from tidings_protocol.errors import BadRequest, Unavailable

NODES = {
    name: NodeRecord(
        name=name, kind="access", boot_id=f"boot-{name}", rpc="", ws=f"ws://{name}", tcp=f"{name}:1", state="ready"
    )
    for name in ("access-0", "access-1")
}


def placement(rule: Literal["ring", "any"] = "ring", *nodes: str, me: str = "access-0") -> Placement:
    ring = Ring.build(dict.fromkeys(nodes or NODES, 1.0))
    return Placement(rule, me=lambda: NodeIncarnation(me, f"boot-{me}"), ring=lambda: ring, node=NODES.get)


def owned_by(node: str) -> str:
    ring = Ring.build(dict.fromkeys(NODES, 1.0))
    return next(f"user{number}" for number in range(1000) if ring.owner_of(f"user{number}") == node)


def test_under_ring_a_client_is_sent_to_the_owner_by_its_own_transport() -> None:
    user = owned_by("access-1")
    assert placement().address_for(user, "ws", frozenset()) == "ws://access-1"
    assert placement().address_for(user, "tcp", frozenset()) == "access-1:1"
    assert placement().elsewhere(user) == NodeIncarnation("access-1", "boot-access-1")


def test_who_belongs_here_or_cannot_reach_the_owner_is_served_here() -> None:
    assert placement().address_for(owned_by("access-0"), "ws", frozenset()) == ""
    assert placement().address_for(owned_by("access-1"), "ws", frozenset({"access-1"})) == ""
    assert placement().elsewhere(owned_by("access-0")) is None


def test_a_boot_owns_the_slots_that_the_ring_gives_it_while_its_record_says_so() -> None:
    mine, others = owned_by("access-0"), owned_by("access-1")
    assert placement().owns_all([mine, mine])
    assert not placement().owns_all([mine, others])
    ring = Ring.build(dict.fromkeys(NODES, 1.0))
    again = Placement("ring", me=lambda: NodeIncarnation("access-0", "next"), ring=lambda: ring, node=NODES.get)
    assert not again.owns_all([mine])
    gone = Placement("ring", me=lambda: NodeIncarnation("access-0", "a"), ring=lambda: ring, node=lambda _: None)
    assert not gone.owns_all([mine])


def test_under_any_nobody_is_sent_away() -> None:
    assert placement("any").address_for(owned_by("access-1"), "ws", frozenset()) == ""
    assert placement("any").next_address(owned_by("access-0"), "ws") == ""


def test_a_route_names_the_owner_and_refuses_bad_names() -> None:
    user = owned_by("access-1")
    route = placement().route(user)
    assert route == {
        "user": user,
        "slot": route["slot"],
        "node": "access-1",
        "ws": "ws://access-1",
        "tcp": "access-1:1",
    }
    with pytest.raises(BadRequest):
        placement().route("a b")


def test_without_a_ring_there_is_no_route_and_everybody_is_served() -> None:
    nobody = Placement("ring", me=lambda: NodeIncarnation("a", "b"), ring=lambda: Ring.build({}), node=NODES.get)
    with pytest.raises(Unavailable):
        nobody.route("ann")
    assert nobody.address_for("ann", "ws", frozenset()) == ""
    assert nobody.next_address("ann", "ws") == ""
