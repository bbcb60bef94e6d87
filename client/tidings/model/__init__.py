"""What an application sees: messages, conversations, receipts, presence, as frozen values.

Times are milliseconds since 1970 (UTC) as the server says them. What the server says is made from the protocol's own
message by `from_proto`, and what commands print can go back by `to_proto`.
"""

from __future__ import annotations

from tidings.model.conversations import Conversation, ConversationKind, Group, Member, Role
from tidings.model.events import (
    DeviceKind,
    Event,
    Link,
    LinkState,
    MessageState,
    Notice,
    NotKept,
    Presence,
    Progress,
    Receipt,
    Restarted,
    Signal,
)
from tidings.model.messages import MEMBERSHIP_MIME, SHOWN, HistoryPage, InboxPage, Membership, Message, Sent

__all__ = [
    "MEMBERSHIP_MIME",
    "SHOWN",
    "Conversation",
    "ConversationKind",
    "DeviceKind",
    "Event",
    "Group",
    "HistoryPage",
    "InboxPage",
    "Link",
    "LinkState",
    "Member",
    "Membership",
    "Message",
    "MessageState",
    "NotKept",
    "Notice",
    "Presence",
    "Progress",
    "Receipt",
    "Restarted",
    "Role",
    "Sent",
    "Signal",
]
