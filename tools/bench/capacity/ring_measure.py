"""The ring of a large cluster, measured: how evenly it lays slots and users, what a change moves, how long it takes."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.ring import Ring
from tidings_protocol.ids import SLOTS, slot_of

CHANGES = 20
SEED = 1


@dataclass(frozen=True, slots=True)
class RingReport:
    """Shares are to the mean. Times are of this machine."""

    nodes: int
    users: int
    slots_most: float
    slots_least: float
    users_most: float
    users_least: float
    moved_by_join: float  # of all slots, at most; 1 / nodes would be the least possible
    moved_by_leave: float
    build_ms: float
    users_per_s: float  # that are laid on slots


def measure(nodes: int, users: int) -> RingReport:
    members = {f"access-{number}": 1.0 for number in range(nodes)}
    began = time.perf_counter()
    ring = Ring.build(members)
    build_ms = (time.perf_counter() - began) * 1000
    began = time.perf_counter()
    in_slots = _in_slots(users)
    laid_s = time.perf_counter() - began
    slots = Counter(owner for owner in ring.owners if owner)
    people = Counter[str]()
    for slot, count in enumerate(in_slots):
        people[ring.owners[slot] or ""] += count
    joins, leaves = _moved(ring, members)
    return RingReport(
        nodes=nodes,
        users=users,
        slots_most=max(slots.values()) * nodes / SLOTS,
        slots_least=min(slots[name] for name in members) * nodes / SLOTS,
        users_most=max(people.values()) * nodes / users,
        users_least=min(people[name] for name in members) * nodes / users,
        moved_by_join=max(joins),
        moved_by_leave=max(leaves),
        build_ms=build_ms,
        users_per_s=users / laid_s,
    )


def _in_slots(users: int) -> list[int]:
    counts = [0] * SLOTS
    for number in range(users):
        counts[slot_of(f"user-{number}")] += 1
    return counts


def _moved(ring: Ring, members: dict[str, float]) -> tuple[Sequence[float], Sequence[float]]:
    """The share of slots that another node joining, or one of these leaving, moves."""
    chance = random.Random(SEED)
    joins, leaves = [], []
    for change in range(CHANGES):
        joins.append(len(Ring.build({**members, f"new-{change}": 1.0}).moved(ring)) / SLOTS)
        gone = chance.choice(list(members))
        rest = {name: weight for name, weight in members.items() if name != gone}
        leaves.append(len(Ring.build(rest).moved(ring)) / SLOTS if rest else 1.0)
    return joins, leaves
