"""The visits from this node: users that are connected to this node while another node owns their slot.

Theory of operation. A visitor's owner forwards what the visitor gets, once it has confirmed the visit. This node
keeps which owner has confirmed which of its users. What should be confirmed follows from the ring and from who is
connected; the difference to what is confirmed is the calls to make. So it does not matter how often or why the
difference is taken: a call that failed, an owner that died and a ring that changed twice are all repaired by the next
comparison. The owner's half is delivery/forwarding_table.py.

Guarantees: a user's new owner confirms before the old one is told that the user left. The visits are bounded by
the users that are connected here.

Does not know: gRPC, Kafka, rings (each user's owner is an argument).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from services.common.registry.contract import NodeIncarnation

OwnerOf = Callable[[str], NodeIncarnation | None]


class Visits:
    """Which owners forward for the users of this node, and which calls would bring that up to date.

    `wanted` is, wherever it is an argument, the owner that should forward for a user; None if none should.
    """

    __slots__ = ("_confirmed", "_stale")

    def __init__(self) -> None:
        self._confirmed: dict[str, NodeIncarnation] = {}
        # Owners that were not yet told that a user left them, by user: few, and gone with the owner.
        self._stale: dict[str, set[NodeIncarnation]] = {}

    def __len__(self) -> int:
        return len(self._confirmed)

    def owner_of(self, user: str) -> NodeIncarnation | None:
        """The owner that has confirmed to forward for this user."""
        return self._confirmed.get(user)

    def due(self, users: Iterable[str], wanted: OwnerOf) -> list[str]:
        """Those of the users for whom a call is to be made."""
        return [user for user in users if self._confirmed.get(user) != wanted(user)]

    def arrivals(self, users: Iterable[str], wanted: OwnerOf) -> dict[NodeIncarnation, list[str]]:
        """The first calls: which owner is to be asked to forward for which users."""
        calls: dict[NodeIncarnation, list[str]] = {}
        for user in users:
            owner = wanted(user)
            if owner is not None and self._confirmed.get(user) != owner:
                calls.setdefault(owner, []).append(user)
        return calls

    def confirm(self, owner: NodeIncarnation, users: Iterable[str]) -> None:
        """Notes that this owner forwards for the users; the owner before it is then to be told that they left."""
        for user in users:
            before = self._confirmed.get(user)
            if before is not None and before != owner:
                self._stale.setdefault(user, set()).add(before)
            self._confirmed[user] = owner
            self._discard_stale(owner, user)

    def departures(self, users: Iterable[str], wanted: OwnerOf) -> dict[NodeIncarnation, list[str]]:
        """The second calls: which owner is to be told which users it need not forward for any more."""
        calls: dict[NodeIncarnation, list[str]] = {}
        for user in users:
            confirmed = self._confirmed.get(user)
            if confirmed is not None and wanted(user) is None:
                calls.setdefault(confirmed, []).append(user)
            for owner in self._stale.get(user, ()):
                calls.setdefault(owner, []).append(user)
        return calls

    def released(self, owner: NodeIncarnation, users: Iterable[str]) -> None:
        """Notes that this owner knows that the users left."""
        for user in users:
            if self._confirmed.get(user) == owner:
                del self._confirmed[user]
            self._discard_stale(owner, user)

    def forget(self, alive: Callable[[str], bool]) -> None:
        """Forgets the owners whose boot id is not alive."""
        for user in [user for user, owner in self._confirmed.items() if not alive(owner.boot_id)]:
            del self._confirmed[user]
        for user, owners in list(self._stale.items()):
            for owner in [owner for owner in owners if not alive(owner.boot_id)]:
                self._discard_stale(owner, user)

    def clear(self) -> None:
        """Forgets all, since this node has a new boot id, to which no owner forwards yet."""
        self._confirmed.clear()
        self._stale.clear()

    def _discard_stale(self, owner: NodeIncarnation, user: str) -> None:
        owners = self._stale.get(user)
        if owners is not None:
            owners.discard(owner)
            if not owners:
                del self._stale[user]
