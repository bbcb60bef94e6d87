"""Which memory of a storage node is in doubt when the cluster changes, and is therefore dropped.

What a node has in memory is right as long as nobody else writes to it. Three changes put that in doubt:
- a slot came to this node or left it: its owner before, or after, writes to the same conversations and inboxes;
- another storage node that was ready has died: it may have written in this node's place without having told it
  (invalidation.py), and to anything. A node that drains tells before it leaves, and is not ready any more by then;
- this node itself has come back as a new boot: others had its slots meanwhile, whether or not it saw that.

Guarantees: pure. What is dropped without need is read again, and nothing else happens.
Does not know: what is in memory, how a ring comes about.
"""

from __future__ import annotations

from typing import Final

from services.common.registry.contract import Membership
from services.common.ring import EMPTY, Ring
from tidings_protocol.ids import SLOTS

KIND: Final = "storage"
ALL_SLOTS = frozenset(range(SLOTS))


class RingChange:
    """The ring as one node saw it last."""

    def __init__(self, name: str) -> None:
        """`name`: that of this node."""
        self._name = name
        self._ring = EMPTY

    def doubtful_slots(self, before: Membership, after: Membership, ring: Ring) -> frozenset[int]:
        """The slots of which nothing in memory is trusted after this change; `ring` is that of `after`."""
        last, self._ring = self._ring, ring
        if _has_died(before, after):
            return ALL_SLOTS
        return moved_slots(self._name, last, ring)


def moved_slots(name: str, before: Ring, after: Ring) -> frozenset[int]:
    """The slots that came to the node of this name, or left it."""
    if before is after:
        return frozenset()
    return frozenset(
        slot
        for slot, (old, new) in enumerate(zip(before.owners, after.owners, strict=True))
        if old != new and name in (old, new)
    )


def _has_died(before: Membership, after: Membership) -> bool:
    """Whether a storage node that was ready is gone; one that came back with a new boot id is gone, too."""
    boots = {record.boot_id for record in after.nodes}
    return any(
        record.kind == KIND and record.state == "ready" and record.boot_id not in boots for record in before.nodes
    )
