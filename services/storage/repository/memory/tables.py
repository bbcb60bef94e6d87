"""What is durable in the twin in memory: one dict for each collection.

Does not know: who reads and writes it (messages.py, conversations.py, sessions.py, people.py).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from services.common.clock import Clock, SystemClock
from services.storage.repository.memory.faults import Faults
from services.storage.repository.people import BlockKey, PreferenceDocument, PreferenceKey, ProfileDocument
from services.storage.repository.reactions import AheadSet, StoredReaction
from services.storage.repository.records import (
    ClientKey,
    ConversationDocument,
    HiddenSeqs,
    InboxEntry,
    MadeChange,
    MemberDocument,
    MemberKey,
    MessageKey,
    OpKey,
    SessionDocument,
    StoredMessage,
    UserDocument,
)


@dataclass(slots=True)
class Tables:
    """What is durable."""

    faults: Faults = field(default_factory=Faults)
    messages: dict[str, dict[int, StoredMessage]] = field(default_factory=lambda: defaultdict(dict))
    revisions: dict[MessageKey, int] = field(default_factory=dict)  # of what was folded
    clients: dict[ClientKey, int] = field(default_factory=dict)
    erased: set[MessageKey] = field(default_factory=set)  # messages whose time was over
    inboxes: dict[str, dict[int, InboxEntry]] = field(default_factory=lambda: defaultdict(dict))
    conversations: dict[str, ConversationDocument] = field(default_factory=dict)
    members: dict[str, dict[str, MemberDocument]] = field(default_factory=lambda: defaultdict(dict))
    hidden: dict[MemberKey, HiddenSeqs] = field(default_factory=dict)
    changes: dict[OpKey, MadeChange] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)  # the conversations of messages and changes, as they were written
    forgotten: int = 0  # how many of the oldest of these are not remembered
    heartbeats: dict[str, int] = field(default_factory=dict)
    sessions: dict[str, dict[str, SessionDocument]] = field(default_factory=lambda: defaultdict(dict))
    users: dict[str, UserDocument] = field(default_factory=dict)
    devices: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    preferences: dict[PreferenceKey, PreferenceDocument] = field(default_factory=dict)
    blocks: dict[BlockKey, int] = field(default_factory=dict)  # since when
    profiles: dict[str, ProfileDocument] = field(default_factory=dict)
    epoch: str = ""
    # By message, user, reaction.
    reactions: dict[MessageKey, dict[str, dict[str, StoredReaction]]] = field(default_factory=dict)
    ahead: dict[MessageKey, AheadSet] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)
    content_read: int = 0  # bytes of messages' contents that went out
