"""The user's list of conversations, as the application sees it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tidings.model.messages import SHOWN, Message
from tidings.model.people import Preferences
from tidings_protocol import client_pb2 as pb


class ConversationKind(IntEnum):
    UNKNOWN = pb.Conversation.KIND_UNSPECIFIED
    DIRECT = pb.Conversation.DIRECT
    GROUP = pb.Conversation.GROUP
    BROADCAST = pb.Conversation.BROADCAST

    @classmethod
    def _missing_(cls, _value: object) -> ConversationKind:
        return cls.UNKNOWN  # a kind of a newer server


@dataclass(frozen=True, slots=True)
class Conversation:
    """One row of the user's list. `large_from`: the seq from which it is read by cursor; 0: not large.

    `unread`: messages behind the read position that count and are not the user's own; `mentions`: of these, those that
    mention the user (at most 100), the first at `first_mention_seq`. `pinned`: seqs, the newest pin first.
    """

    id: str
    name: str
    kind: ConversationKind
    head: int
    read_seq: int
    peer_delivered_seq: int = 0
    peer_read_seq: int = 0
    large_from: int = 0
    last: Message | None = None
    unread: int = 0
    mentions: int = 0
    first_mention_seq: int = 0
    preferences: Preferences | None = None
    hidden_through: int = 0
    peer: str = ""
    read_ordinal: int = 0
    pinned: tuple[int, ...] = ()

    @classmethod
    def from_proto(cls, conversation: pb.Conversation) -> Conversation:
        told = conversation.preferences if conversation.HasField("preferences") else None
        return cls(
            conversation.conversation,
            conversation.name,
            ConversationKind(conversation.kind),
            conversation.head,
            conversation.read_seq,
            conversation.peer_delivered_seq,
            conversation.peer_read_seq,
            conversation.large_from,
            Message.from_proto(conversation.last) if conversation.last.kind in SHOWN else None,
            conversation.unread,
            conversation.unread_mentions,
            conversation.first_mention_seq,
            Preferences.from_proto(told) if told is not None else None,
            conversation.hidden_through,
            conversation.peer,
            conversation.read_ordinal,
            tuple(conversation.pinned),
        )
