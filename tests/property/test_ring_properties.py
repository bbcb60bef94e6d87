"""What holds for every ring: balance, few moves, no dependence on order."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.ring import LOAD_MAX, Ring
from tidings_protocol.ids import SLOTS

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=12)
FEW = st.lists(NAMES, min_size=1, max_size=9, unique=True)
WEIGHTED = st.dictionaries(NAMES, st.floats(0.1, 10.0), min_size=1, max_size=40)


def numbered(prefix: str, count: int) -> dict[str, float]:
    return {f"{prefix}-{i}": 1.0 for i in range(count)}


def assert_balanced(ring: Ring) -> None:
    loads = Counter(ring.owners)
    assert None not in loads
    total = sum(ring.members.values())
    for name, weight in ring.members.items():
        mean = SLOTS * weight / total
        allowed = LOAD_MAX * mean if mean >= 4 else max(LOAD_MAX * mean, math.ceil(mean))
        assert loads[name] <= allowed + 1e-6, (name, loads[name], mean)


def assert_few_moved(members: dict[str, float], joining: str, weight: float) -> None:
    smaller, larger = Ring.build(members), Ring.build(members | {joining: weight})
    moved = len(larger.moved(smaller))
    share = weight / (sum(members.values()) + weight)
    assert moved <= (share + 0.05) * SLOTS, (moved / SLOTS, share)


@settings(max_examples=60, deadline=None)
@given(FEW)
def test_small_rings_are_balanced_and_move_little(names: list[str]) -> None:
    members = dict.fromkeys(names[1:], 1.0)
    if members:
        assert_balanced(Ring.build(members))
        assert_few_moved(members, names[0], 1.0)


@settings(max_examples=60, deadline=None)
@given(WEIGHTED, NAMES, st.floats(0.1, 10.0))
def test_weighted_rings_are_balanced_and_move_little(members: dict[str, float], joining: str, weight: float) -> None:
    assert_balanced(Ring.build(members))
    if joining not in members:
        assert_few_moved(members, joining, weight)


@settings(max_examples=40, deadline=None)
@given(NAMES, st.integers(2, 1000))
def test_rings_up_to_a_thousand_are_balanced_and_move_little(prefix: str, count: int) -> None:
    members = numbered(prefix, count - 1)
    assert_balanced(Ring.build(members))
    assert_few_moved(members, f"{prefix}-{count - 1}", 1.0)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_anyone_of_many_may_leave(data: st.DataObject) -> None:
    members = numbered("n", data.draw(st.integers(2, 1000)))
    leaving = data.draw(st.sampled_from(sorted(members)))
    assert_few_moved({name: 1.0 for name in members if name != leaving}, leaving, 1.0)


@settings(max_examples=30, deadline=None)
@given(WEIGHTED, st.randoms(use_true_random=False))
def test_the_order_of_the_members_does_not_matter(members: dict[str, float], random: object) -> None:
    shuffled = list(members.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert Ring.build(dict(shuffled)) == Ring.build(members)
    assert Ring.build(dict(shuffled)).owners == Ring.build(members).owners


@settings(max_examples=20, deadline=None)
@given(st.integers(1025, 5000))
def test_more_members_than_slots_can_hold_still_get_a_ring(count: int) -> None:
    assert_balanced(Ring.build(numbered("n", count)))
