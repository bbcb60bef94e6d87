"""The fan-out policy: who gets an inbox entry of a message, and whether all nodes must hear of it.

Write diffusion for direct chats and groups that are not large: each member, the sender too, gets an inbox entry, so one
cursor is enough for all of them. Read diffusion for large groups and `b:all`: nothing per member, one record for all
access nodes, members hold a cursor in the conversation.

Guarantees: pure. Does not know: whether the sender may speak (permissions.py), nodes (parcels.py).
"""

from __future__ import annotations

from typing import NamedTuple

from services.logic.groups.model import GroupSnapshot
from tidings_protocol.ids import ConversationKind, kind_of, peers


class Fanout(NamedTuple):
    """`version` is that of the group which the recipients were taken from; 0: there is none to grow stale."""

    recipients: tuple[str, ...]
    version: int = 0

    @property
    def by_cursor(self) -> bool:
        """Read diffusion."""
        return not self.recipients


def fanout_of(conversation: str, group: GroupSnapshot | None) -> Fanout:
    """`group` must be given for a group."""
    match kind_of(conversation):
        case ConversationKind.DIRECT:
            a, b = peers(conversation)
            return Fanout((a,) if a == b else (a, b))
        case ConversationKind.BROADCAST:
            return Fanout(())
        case ConversationKind.GROUP:
            assert group is not None
            return Fanout(() if group.is_large else tuple(group.members), group.version)
