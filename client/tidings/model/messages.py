"""Messages, as the application sees them: one, the pages of many, and the server's word for one that was sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tidings_protocol import client_pb2 as pb
from tidings_protocol.kinds import KINDS

MEMBERSHIP_MIME = "application/tidings.membership+json"
# Message.Kinds; others are of a later version, or change what is shown.
SHOWN = frozenset(kind.number for kind in KINDS.values() if kind.shown)


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
