"""What an application sees: messages, conversations, receipts, presence, as frozen values.

Times are milliseconds since 1970 (UTC) as the server says them. Every value is made from the protocol's own message by
`from_proto`, and the ones that commands print can go back by `to_proto`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum

from tidings_protocol import client_pb2 as pb
from tidings_protocol.kinds import KINDS

MEMBERSHIP_MIME = "application/tidings.membership+json"
# Message.Kinds; others are of a later version, or change what is shown.
SHOWN = frozenset(kind.number for kind in KINDS.values() if kind.shown)


class DeviceKind(IntEnum):
    """Decides the heartbeat: a mobile device is asked less often."""

    WEB = pb.Hello.WEB
    MOBILE = pb.Hello.MOBILE
    DESKTOP = pb.Hello.DESKTOP
    BOT = pb.Hello.BOT


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


class MessageState(StrEnum):
    """What became of a message that this client sent; it only ever goes on, never back."""

    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"


class LinkState(StrEnum):
    """How the client stands to the server."""

    CONNECTING = "connecting"
    ONLINE = "online"
    WAITING = "waiting"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Membership:
    """What a SYSTEM message of a group tells. `act`: create, join, leave, add, remove, role, rename, large.

    A later server may tell of other acts.
    """

    act: str
    by: str = ""
    users: tuple[str, ...] = ()
    role: str = ""
    name: str = ""

    def admits(self, user: str) -> bool:
        """Whether it made this user a member."""
        return self.act in ("create", "add", "join") and (user in self.users or user == self.by)


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Either `text` or `data` (with its `mime`) is its content."""

    id: str
    conversation: str
    seq: int
    sender: str
    time_ms: int
    text: str = ""
    data: bytes = b""
    mime: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    reply_to: int = 0
    system: bool = False
    client_id: str = ""

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(self.time_ms / 1000, UTC)

    @property
    def membership(self) -> Membership | None:
        """Set on a SYSTEM message that tells of a change of a group."""
        if not self.system or self.mime != MEMBERSHIP_MIME:
            return None
        return _membership(self.data)

    @classmethod
    def from_proto(cls, message: pb.Message) -> Message:
        content = message.content
        return cls(
            id=message.message_id,
            conversation=message.conversation,
            seq=message.seq,
            sender=message.sender,
            time_ms=message.time_ms,
            text=content.text,
            data=content.data,
            mime=content.mime,
            headers=dict(content.headers),
            reply_to=content.reply_to,
            system=message.kind == pb.Message.SYSTEM,
            client_id=message.client_id,
        )

    def to_proto(self) -> pb.Message:
        content = pb.Content(mime=self.mime, headers=self.headers, reply_to=self.reply_to)
        if self.text:
            content.text = self.text
        else:
            content.data = self.data
        return pb.Message(
            message_id=self.id,
            conversation=self.conversation,
            seq=self.seq,
            sender=self.sender,
            time_ms=self.time_ms,
            content=content,
            kind=pb.Message.SYSTEM if self.system else pb.Message.NORMAL,
            client_id=self.client_id,
        )


@dataclass(frozen=True, slots=True)
class Sent:
    """The server has it: durable, with its place in the conversation. `duplicate`: an earlier try had stored it."""

    client_id: str
    message_id: str
    conversation: str
    seq: int
    time_ms: int
    duplicate: bool = False
    number: int = 0

    @classmethod
    def from_proto(cls, sent: pb.Sent) -> Sent:
        return cls(
            sent.client_id,
            sent.message_id,
            sent.conversation,
            sent.seq,
            sent.time_ms,
            sent.duplicate,
            sent.number,
        )

    def to_proto(self) -> pb.Sent:
        return pb.Sent(
            client_id=self.client_id,
            message_id=self.message_id,
            conversation=self.conversation,
            seq=self.seq,
            time_ms=self.time_ms,
            duplicate=self.duplicate,
            number=self.number,
        )


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


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Messages, oldest first. `more`: there are others in the direction asked. `truncated`: older ones are gone."""

    messages: tuple[Message, ...]
    head: int
    more: bool
    truncated: bool
    next: int

    @classmethod
    def from_proto(cls, page: pb.Page) -> HistoryPage:
        return cls(
            tuple(Message.from_proto(entry.message) for entry in page.entries if entry.message.kind in SHOWN),
            page.head,
            page.more,
            page.truncated,
            page.next,
        )


@dataclass(frozen=True, slots=True)
class InboxPage:
    """Entries of the user's inbox: (number, message), ascending. `truncated`: older ones are gone."""

    entries: tuple[tuple[int, Message], ...]
    head: int
    more: bool
    truncated: bool
    next: int

    @classmethod
    def from_proto(cls, page: pb.Page) -> InboxPage:
        return cls(
            tuple(
                (entry.number, Message.from_proto(entry.message))
                for entry in page.entries
                if entry.message.kind in SHOWN
            ),
            page.head,
            page.more,
            page.truncated,
            page.next,
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """`user` holds the conversation up to `delivered_seq` and has read it up to `read_seq`."""

    conversation: str
    user: str
    delivered_seq: int
    read_seq: int

    @classmethod
    def from_proto(cls, receipt: pb.Receipt) -> Receipt:
        return cls(receipt.conversation, receipt.user, receipt.delivered_seq, receipt.read_seq)


@dataclass(frozen=True, slots=True)
class Presence:
    """`last_seen_ms` 0: never seen."""

    user: str
    online: bool
    last_seen_ms: int = 0

    @classmethod
    def from_proto(cls, told: pb.Presence) -> Presence:
        return cls(told.user, told.online, told.last_seen_ms)


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that is not kept: typing, and what the application makes up."""

    conversation: str
    sender: str
    name: str
    data: bytes = b""

    @classmethod
    def from_proto(cls, signal: pb.Signal) -> Signal:
        return cls(signal.conversation, getattr(signal, "from"), signal.name, signal.data)


@dataclass(frozen=True, slots=True)
class Progress:
    """A message of this client came into another state. `seq` 0: it has no place yet. `reason`: why it failed."""

    client_id: str
    conversation: str
    seq: int
    state: MessageState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """The connection came into another state; `detail` is a sentence for people, `retry_in_s` counts from now."""

    state: LinkState
    node: str = ""
    detail: str = ""
    retry_in_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Restarted:
    """The server holds other data than before, or this device is new: read the conversations again."""

    epoch: str
    first: bool


@dataclass(frozen=True, slots=True)
class NotKept:
    """The place of this device could not be kept; it is tried again. `reason` is a sentence for people."""

    reason: str
    retry_in_s: float


Event = Message | Receipt | Presence | Signal | Group | Progress | Link | Restarted | NotKept
Notice = Receipt | Presence | Signal | Group | Progress | Link | Restarted | NotKept


def _membership(data: bytes) -> Membership | None:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    users = told.get("users")
    return Membership(
        act=str(told.get("act", "")),
        by=str(told.get("by", "")),
        users=tuple(map(str, users)) if isinstance(users, list) else (),
        role=str(told.get("role", "")),
        name=str(told.get("name", "")),
    )
