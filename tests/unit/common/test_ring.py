"""The ring, by example."""

from __future__ import annotations

import subprocess
import sys
import time
from hashlib import sha256
from itertools import pairwise

import pytest

from services.common import ring as ring_module
from services.common.ring import EMPTY, Ring
from tidings_protocol.ids import SLOTS, slot_of

THREE = {"access-0": 1.0, "access-1": 1.0, "access-2": 1.0}


def test_an_empty_ring_has_no_owners() -> None:
    ring = Ring.build({})
    assert ring == EMPTY
    assert ring.owner(0) is None
    assert ring.owner_of("ann") is None
    assert list(ring.preference(7)) == []


def test_a_single_member_owns_every_slot() -> None:
    ring = Ring.build({"access-0": 0.5})
    assert ring.slots_of("access-0") == frozenset(range(SLOTS))
    assert list(ring.preference(7)) == ["access-0"]


def test_the_owner_of_a_key_is_the_owner_of_its_slot() -> None:
    ring = Ring.build(THREE)
    assert ring.owner_of("ann") == ring.owner(slot_of("ann"))
    assert slot_of("ann") in ring.slots_of(ring.owner_of("ann") or "")


def test_the_assignment_never_changes_between_versions() -> None:
    owners = " ".join(owner or "-" for owner in Ring.build(THREE | {"big": 2.5}).owners)
    assert sha256(owners.encode()).hexdigest()[:16] == "a792338787cc11b2"


def test_another_process_with_another_hash_seed_builds_the_same_ring() -> None:
    program = (
        "from services.common.ring import Ring;"
        "print(Ring.build({'access-2': 1.0, 'access-0': 1.0, 'access-1': 1.0}).owners)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "77"}
    )
    assert shown.stdout.strip() == str(Ring.build(THREE).owners)


def test_rings_are_equal_by_value_and_are_built_once() -> None:
    ring = Ring.build(THREE)
    again = Ring.build(dict(reversed(THREE.items())))
    assert again == ring
    assert hash(again) == hash(ring)
    assert again is ring
    assert Ring.build(THREE | {"access-2": 2.0}) != ring


def test_a_member_of_weight_zero_owns_nothing_and_follows_nobody() -> None:
    ring = Ring.build(THREE | {"idle": 0.0})
    assert ring.owners == Ring.build(THREE).owners
    assert "idle" in ring.members
    assert "idle" not in set(ring.preference(3))


@pytest.mark.parametrize("weight", [-1.0, 0.0001, 1e6, float("inf"), float("nan")])
def test_a_weight_out_of_range_is_refused_with_the_range(weight: float) -> None:
    with pytest.raises(ValueError, match=r"the weight of odd is .*: use 0, or 0\.001 to 1000"):
        Ring.build({"odd": weight})


def test_shares_follow_the_weights() -> None:
    ring = Ring.build({"small": 1.0, "large": 3.0})
    assert 0.72 < len(ring.slots_of("large")) / SLOTS < 0.78


def test_moved_names_just_the_slots_with_another_owner() -> None:
    old, new = Ring.build(THREE), Ring.build(THREE | {"access-3": 1.0})
    moved = new.moved(old)
    assert moved == {slot for slot in range(SLOTS) if old.owner(slot) != new.owner(slot)}
    assert moved == new.slots_of("access-3")
    assert new.moved(new) == frozenset()


def test_the_second_in_preference_owns_the_slot_after_the_owner_has_left() -> None:
    ring = Ring.build(THREE | {"access-3": 1.0})
    for gone in ring.members:
        rest = Ring.build({name: weight for name, weight in ring.members.items() if name != gone})
        for slot in ring.slots_of(gone):
            assert list(ring.preference(slot))[1] == rest.owner(slot)


def test_preference_names_every_member_once() -> None:
    ring = Ring.build({f"n{i}": 1.0 for i in range(40)})
    for slot in range(0, SLOTS, 97):
        order = list(ring.preference(slot))
        assert order[0] == ring.owner(slot)
        assert sorted(order) == sorted(ring.members)


def test_a_thousand_nodes_are_built_in_well_under_a_second() -> None:
    times = []
    for run in range(3):
        members = {f"{run}-access-{i}": 1.0 for i in range(1000)}
        before = time.perf_counter()
        Ring.build(members)
        times.append(time.perf_counter() - before)
    assert min(times) < 0.3


def test_growing_to_a_thousand_nodes_never_moves_much_at_once() -> None:
    """Also where 1.25 x the mean crosses a whole number (853, 731, 640 ... members)."""
    for crossing in (1000, 853, 731, 640, 569, 512, 465, 320, 204, 100):
        sizes = range(crossing - 1, crossing + 2)
        rings = [Ring.build({f"access-{i}": 1.0 for i in range(size)}) for size in sizes]
        for old, new in pairwise(rings):
            assert len(new.moved(old)) / SLOTS <= 1 / len(old.members) + 0.01


def test_the_cache_is_bounded() -> None:
    for size in range(66):
        Ring.build({f"x{i}": 1.0 for i in range(size % 3 + 1)} | {f"odd{size}": 1.0})
    assert ring_module._build.cache_info().currsize <= 64
