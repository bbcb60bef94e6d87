"""Conversations and groups, as the application sees them: the user's list, what is known of a group, its members."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tidings.model.messages import SHOWN, Message
from tidings_protocol import client_pb2 as pb


class Role(IntEnum):
    """What a member may do in a group."""

    NONE = pb.Member.ROLE_UNSPECIFIED
    MEMBER = pb.Member.MEMBER
    ADMIN = pb.Member.ADMIN
    OWNER = pb.Member.OWNER

    @classmethod
    def _missing_(cls, _value: object) -> Role:
        return cls.NONE  # a role of a newer server


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
    """One row of the user's list. `large_from`: the seq from which it is read by cursor; 0: not large."""

    id: str
    name: str
    kind: ConversationKind
    head: int
    read_seq: int
    peer_delivered_seq: int = 0
    peer_read_seq: int = 0
    large_from: int = 0
    last: Message | None = None

    @property
    def unread(self) -> int:
        return max(0, self.head - self.read_seq)

    @classmethod
    def from_proto(cls, conversation: pb.Conversation) -> Conversation:
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
        )


@dataclass(frozen=True, slots=True)
class Group:
    """What is known of a group. `role` NONE: the caller is not a member (any more)."""

    id: str
    name: str
    member_count: int
    role: Role
    head: int
    open: bool = False
    channel: bool = False
    share_history: bool = False
    large_from: int = 0

    @classmethod
    def from_proto(cls, info: pb.GroupInfo) -> Group:
        return cls(
            info.conversation,
            info.name,
            info.member_count,
            Role(info.role),
            info.head,
            info.open,
            info.channel,
            info.share_history,
            info.large_from,
        )


@dataclass(frozen=True, slots=True)
class Member:
    user: str
    role: Role
