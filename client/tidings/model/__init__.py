"""What an application sees: messages, conversations, receipts, presence, as frozen values.

Times are milliseconds since 1970 (UTC) as the server says them. What the server says is made from the protocol's own
message by `from_proto`, and what commands print can go back by `to_proto`.
"""

from __future__ import annotations

from tidings.model.changes import ChangeAct, MessageChanged, Reacted
from tidings.model.content import Content, Media
from tidings.model.conversations import Conversation, ConversationKind
from tidings.model.events import (
    DeviceKind,
    Event,
    Expired,
    Hidden,
    Link,
    LinkState,
    MessageState,
    Notice,
    NotKept,
    PreferencesChanged,
    Presence,
    ProfileChanged,
    Progress,
    Receipt,
    Restarted,
    Signal,
    StreamGrew,
)
from tidings.model.groups import Group, GroupSettings, Invite, JoinRequest, Member, Role
from tidings.model.messages import MEMBERSHIP_MIME, SHOWN, Membership, Message, Sent
from tidings.model.pages import HistoryPage, InboxPage
from tidings.model.people import Preferences, Profile, Reactor, Readers
from tidings.model.states import EXPIRY, Reaction, State

__all__ = [
    "EXPIRY",
    "MEMBERSHIP_MIME",
    "SHOWN",
    "ChangeAct",
    "Content",
    "Conversation",
    "ConversationKind",
    "DeviceKind",
    "Event",
    "Expired",
    "Group",
    "GroupSettings",
    "Hidden",
    "HistoryPage",
    "InboxPage",
    "Invite",
    "JoinRequest",
    "Link",
    "LinkState",
    "Media",
    "Member",
    "Membership",
    "Message",
    "MessageChanged",
    "MessageState",
    "NotKept",
    "Notice",
    "Preferences",
    "PreferencesChanged",
    "Presence",
    "Profile",
    "ProfileChanged",
    "Progress",
    "Reacted",
    "Reaction",
    "Reactor",
    "Readers",
    "Receipt",
    "Restarted",
    "Role",
    "Sent",
    "Signal",
    "State",
    "StreamGrew",
]
