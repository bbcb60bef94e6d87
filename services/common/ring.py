"""The ring: which member owns which of the 4,096 slots.

Consistent hashing with virtual nodes (Karger, Lehman, Leighton, Panigrahy, Levine, Lewin: "Consistent Hashing and
Random Trees", STOC 1997) and bounded load (Mirrokni, Thorup, Zadimoghaddam: "Consistent Hashing with Bounded Loads",
2016, arXiv:1608.01350).

Theory of operation. Every member throws virtual nodes at the slots: which slot each of them falls on follows from the
member's name alone, and the k-th stands at the height (k + phase) / weight. A slot belongs to the member of its lowest
virtual node that still has room. As nothing in this depends on who else is there, a member that joins takes slots and
one that leaves gives its own away; only where somebody is full do a few more slots move.

What is full is what needs care with few slots to a member. A limit of floor(1.25 x mean) falls for all members at once
whenever 1.25 x mean crosses a whole number, and a quarter of the slots would move at that join. So the limits come
down one member after the other, in an order that their names give, on the way to the crossing (`_limits`).

Guarantees, for up to 1,000 members of equal weight (held by property tests):
- a value: equal members give an equal ring, in every process, whatever their order;
- no member has more than 1.25 x its weighted mean, or that mean rounded up where it is below 4 slots;
- a join or leave moves at most the member's share + 5 % of the slots (measured, over 4,000 rings: + 1.3 %);
- building one of 1,000 members takes about 30 ms, and equal ones are built once.

Does not know: who is alive, what the slots mean.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import shake_128
from types import MappingProxyType

from tidings_protocol.ids import SLOTS, hash64, slot_of

LOAD_MAX = 1.25
WEIGHT_MIN = 0.001
WEIGHT_MAX = 1000.0

# How fast the limits come down before a crossing: over half of the way to it. Twice as fast moves up to 1 % of the
# slots at a join of 730 members, half as fast leaves so little room that slots travel far.
_DESCENT = 2.0
# Virtual nodes in one round, all members together. Four to a slot find an owner for all but 2 % of the slots.
_ROUND = 4 * SLOTS
# How many members of a slot's virtual nodes are kept for `preference`.
_KNOWN_FOLLOWERS = 4


@dataclass(frozen=True, slots=True)
class Ring:
    """Who owns which slot. Make one with `Ring.build`."""

    _members: tuple[tuple[str, float], ...]
    owners: tuple[str | None, ...] = field(compare=False, repr=False)
    _followers: tuple[tuple[str, ...], ...] = field(compare=False, repr=False)

    @staticmethod
    def build(members: Mapping[str, float]) -> Ring:
        """The ring of these members (name to weight). Weight 0 owns nothing; else it is from 0.001 to 1000.

        Raises ValueError for another weight.
        """
        for name, weight in members.items():
            if weight != 0 and not WEIGHT_MIN <= weight <= WEIGHT_MAX:
                raise ValueError(f"the weight of {name} is {weight}: use 0, or {WEIGHT_MIN} to {WEIGHT_MAX:g}")
        return _build(tuple(sorted((name, float(weight)) for name, weight in members.items())))

    @property
    def members(self) -> Mapping[str, float]:
        """Name to weight, by name."""
        return MappingProxyType(dict(self._members))

    def owner(self, slot: int) -> str | None:
        """Whose slot this is; None if the ring is empty."""
        return self.owners[slot]

    def owner_of(self, key: str) -> str | None:
        """Who owns the slot of a user or conversation id."""
        return self.owners[slot_of(key)]

    def preference(self, slot: int) -> Iterator[str]:
        """Every member with a weight, once: the owner, then who would follow it, in that order."""
        seen: set[str] = set()
        owner = self.owners[slot]
        for name in (owner, *self._followers[slot]):
            if name is not None and name not in seen:
                seen.add(name)
                yield name
        rest = [name for name, weight in self._members if weight > 0 and name not in seen]
        yield from sorted(rest, key=lambda name: hash64(f"{slot} {name}"))

    def slots_of(self, name: str) -> frozenset[int]:
        """The slots that this member owns."""
        return frozenset(slot for slot, owner in enumerate(self.owners) if owner == name)

    def moved(self, other: Ring) -> frozenset[int]:
        """The slots whose owner is not the same in the other ring."""
        if self._members == other._members:
            return frozenset()
        pairs = zip(self.owners, other.owners, strict=True)
        return frozenset(slot for slot, (mine, theirs) in enumerate(pairs) if mine != theirs)


@lru_cache(maxsize=64)
def _build(members: tuple[tuple[str, float], ...]) -> Ring:
    weights = {name: weight for name, weight in members if weight > 0}
    if not weights:
        return Ring(members, (None,) * SLOTS, ((),) * SLOTS)
    owners, followers = _fill(weights, _limits(weights))
    return Ring(members, tuple(owners), tuple(map(tuple, followers)))


def _fill(weights: dict[str, float], room: dict[str, int]) -> tuple[list[str | None], list[list[str]]]:
    """Gives every slot to the lowest virtual node above it whose member has room; uses `room` up."""
    owners: list[str | None] = [None] * SLOTS
    followers: list[list[str]] = [[] for _ in range(SLOTS)]
    free = SLOTS
    low = 0.0
    span = _ROUND / math.fsum(weights.values())
    while free:
        open_to = {name: weight for name, weight in weights.items() if room[name]}
        for _, name, slot in _virtual_nodes(open_to, low, low + span):
            known = followers[slot]
            if len(known) < _KNOWN_FOLLOWERS and name not in known:
                known.append(name)
            if owners[slot] is None and room[name]:
                owners[slot] = name
                room[name] -= 1
                free -= 1
        low += span
        # Few members with room, for few slots: look further up at once.
        span *= 2
    return owners, followers


def _virtual_nodes(weights: dict[str, float], low: float, high: float) -> list[tuple[float, str, int]]:
    """(height, name, slot) of all virtual nodes in [low, high), from below."""
    found: list[tuple[float, str, int]] = []
    for name, weight in weights.items():
        phase = _fraction("phase", name)
        first = max(0, math.ceil(low * weight - phase))
        end = math.ceil(high * weight - phase)
        if first < end:
            slots = _throws(name, end)
            found += [((k + phase) / weight, name, slots[k] % SLOTS) for k in range(first, end)]
    found.sort()
    return found


def _throws(name: str, count: int) -> array[int]:
    """The first `count` random 16-bit numbers of this name; a longer run begins with the shorter."""
    numbers = array("H", shake_128(name.encode()).digest(2 * count))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _limits(weights: dict[str, float]) -> dict[str, int]:
    """The most slots that each member may have; they are enough for all slots."""
    total = math.fsum(weights.values())
    limits: dict[str, int] = {}
    spare: list[str] = []
    for name, weight in weights.items():
        mean = SLOTS * weight / total
        top = math.floor(LOAD_MAX * mean)
        # From top - 1 to top as the mean rises above the crossing where `top` became allowed.
        soft = top - 1 + min(1.0, (LOAD_MAX * mean - top) * _DESCENT)
        limits[name] = int(max(soft, mean) + _fraction("limit", name))
        if limits[name] < max(top, math.ceil(mean)):
            spare.append(name)
    missing = SLOTS - sum(limits.values())
    if missing > 0:
        for name in sorted(spare, key=lambda name: _fraction("spare", name))[:missing]:
            limits[name] += 1
    return limits


def _fraction(purpose: str, name: str) -> float:
    """A number in [0, 1) that follows from the name."""
    return (hash64(f"{purpose} {name}") >> 11) / (1 << 53)


EMPTY = Ring.build({})
