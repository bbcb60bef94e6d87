"""The placement of users: who owns a user now, and where its clients should be, by the ring and the setting. Pure.

Does not know: connections, how rings change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from services.access.connection.ports import TransportName
from services.common.registry.contract import NodeIncarnation, NodeRecord
from services.common.ring import Ring
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import check_user, slot_of


class Placement:
    """Answers from the present ring of access nodes (`ring`) and the records of those that are alive (`node`)."""

    def __init__(
        self,
        rule: Literal["ring", "any"],
        *,
        me: Callable[[], NodeIncarnation],
        ring: Callable[[], Ring],
        node: Callable[[str], NodeRecord | None],
    ) -> None:
        self._rule = rule
        self._me = me
        self._ring = ring
        self._node = node

    @property
    def name(self) -> str:
        """This node's name."""
        return self._me().node

    @property
    def follows_ring(self) -> bool:
        """Whether clients are sent to the owners of their users."""
        return self._rule == "ring"

    def owner_of(self, user: str) -> NodeIncarnation | None:
        """The boot of a node that owns this user's slot; None while no node does."""
        record = self._owner(user)
        return NodeIncarnation(record.name, record.boot_id) if record is not None else None

    def owns_all(self, users: Iterable[str]) -> bool:
        """Whether the slots of all these users are this boot's own."""
        me = self._me()
        record = self._node(me.node)
        if record is None or record.boot_id != me.boot_id:
            return False
        owners = self._ring().owners
        return {owners[slot] for slot in map(slot_of, users)} <= {me.node}

    def elsewhere(self, user: str) -> NodeIncarnation | None:
        """The owner, if it is another node."""
        owner = self.owner_of(user)
        return None if owner is None or owner.node == self._me().node else owner

    def address_for(self, user: str, transport: TransportName, avoid: frozenset[str]) -> str:
        """Where a client should go instead of this node; empty: it is served here."""
        if not self.follows_ring:
            return ""
        record = self._owner(user)
        if record is None or record.name == self._me().node:
            return ""
        if not avoid.isdisjoint((record.name, record.ws, record.tcp)):  # a goodbye tells a client only an address
            return ""
        return self._address(record, transport)

    def next_address(self, user: str, transport: TransportName) -> str:
        """Where a client goes when this node leaves; empty: anywhere."""
        for name in self._ring().preference(slot_of(user)):
            record = self._node(name)
            if record is not None and name != self._me().node:
                return self._address(record, transport) if self.follows_ring else ""
        return ""

    def route(self, user: str) -> dict[str, Any]:
        """The answer of /v1/route. Raises BadRequest, Unavailable."""
        slot = slot_of(check_user(user))
        record = self._owner(user)
        if record is None:
            raise Unavailable("no access node is ready: ask again in a moment")
        return {"user": user, "slot": slot, "node": record.name, "ws": record.ws, "tcp": record.tcp}

    def _owner(self, user: str) -> NodeRecord | None:
        name = self._ring().owner_of(user)
        return self._node(name) if name is not None else None

    def _address(self, record: NodeRecord, transport: TransportName) -> str:
        return record.tcp if transport == "tcp" else record.ws
