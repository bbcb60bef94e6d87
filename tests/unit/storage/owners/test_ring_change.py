"""Which memory is dropped when the cluster changes."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.common.registry.contract import Membership, NodeRecord
from services.common.ring import EMPTY, Ring
from services.storage.owners.ring_change import ALL_SLOTS, RingChange, moved_slots

NAMES = ("storage-0", "storage-1", "storage-2")
ME, OTHER = NAMES[:2]
BOTH = Ring.build({ME: 1.0, OTHER: 1.0})
ALONE = Ring.build({ME: 1.0})


def node(name: str, boot_id: str = "", **fields: str) -> NodeRecord:
    record = NodeRecord(name, "storage", boot_id or f"boot of {name}", "h:1", state="ready")
    return replace(record, **fields)  # type: ignore[arg-type]  # only texts are given


def members(*nodes: NodeRecord) -> Membership:
    return Membership.of(1, list(nodes))


@given(st.dictionaries(st.sampled_from(NAMES), st.just(1.0)), st.dictionaries(st.sampled_from(NAMES), st.just(1.0)))
def test_just_the_slots_that_come_or_leave_are_dropped(before: dict[str, float], after: dict[str, float]) -> None:
    rings = Ring.build(before), Ring.build(after)
    owned = [{slot for slot in ALL_SLOTS if ring.owners[slot] == ME} for ring in rings]
    assert moved_slots(ME, *rings) == owned[0] ^ owned[1]


def test_a_node_that_begins_drops_what_it_is_given() -> None:
    change = RingChange(ME)
    assert change.doubtful_slots(members(), members(node(ME)), ALONE) == ALL_SLOTS
    assert change.doubtful_slots(members(node(ME)), members(node(ME)), ALONE) == frozenset()


def test_each_change_is_seen_from_the_ring_before() -> None:
    change = RingChange(ME)
    change.doubtful_slots(members(), members(node(ME)), ALONE)
    gone = change.doubtful_slots(members(node(ME)), members(node(ME), node(OTHER)), BOTH)
    assert gone == {slot for slot in ALL_SLOTS if BOTH.owners[slot] == OTHER}
    assert change.doubtful_slots(members(node(ME)), members(node(ME)), BOTH) == frozenset()


def test_a_peer_that_dies_may_have_written_to_anything() -> None:
    there = members(node(ME), node(OTHER))
    change = RingChange(ME)
    change.doubtful_slots(members(), there, BOTH)
    assert change.doubtful_slots(there, members(node(ME)), BOTH) == ALL_SLOTS
    assert change.doubtful_slots(there, members(node(ME), node(OTHER, "boot-2")), BOTH) == ALL_SLOTS


def test_a_node_that_has_come_back_itself_trusts_nothing() -> None:
    there = members(node(ME), node(OTHER))
    change = RingChange(ME)
    change.doubtful_slots(members(), there, BOTH)
    assert change.doubtful_slots(there, members(node(ME, "boot-2"), node(OTHER)), BOTH) == ALL_SLOTS


def test_nodes_that_leave_in_order_and_nodes_of_other_kinds_put_nothing_else_in_doubt() -> None:
    change = RingChange(ME)
    change.doubtful_slots(members(), members(node(ME)), ALONE)
    for other in (node(OTHER, state="draining"), node("access-0", kind="access")):
        assert change.doubtful_slots(members(node(ME), other), members(node(ME)), ALONE) == frozenset(), other


def test_nobody_owns_anything_in_an_empty_ring() -> None:
    assert moved_slots(ME, EMPTY, EMPTY) == frozenset()
