"""Messages, as the application sees them: one, and the server's word for one that was sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from tidings.model.content import Content, Media
from tidings.model.states import EXPIRY, UNCHANGED, Reaction, State
from tidings_protocol import client_pb2 as pb
from tidings_protocol.kinds import KINDS

MEMBERSHIP_MIME = "application/tidings.membership+json"
# Message.Kinds; others are of a later version, or change what is shown.
SHOWN = frozenset(kind.number for kind in KINDS.values() if kind.shown)


@dataclass(frozen=True, slots=True)
class Membership:
    """What a SYSTEM message of a group tells.

    `act`: create, join, leave, add, remove, role, rename, large, update (with the `settings` that are others now),
    mute, unmute, ban, unban, dissolve. A later server may tell of other acts.
    """

    act: str
    by: str = ""
    users: tuple[str, ...] = ()
    role: str = ""
    name: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)

    def admits(self, user: str) -> bool:
        """Whether it made this user a member."""
        return self.act in ("create", "add", "join") and (user in self.users or user == self.by)


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Either `text` or `data` (with its `mime`) is its content, beside or instead of `media`.

    What is recalled, or expired, has no content. `ordinal` counts the messages of the conversation that count as
    unread, up to this one; `expires_ms` 0: it is kept.
    """

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
    state: State = UNCHANGED
    ordinal: int = 0
    expires_ms: int = 0
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    media: tuple[Media, ...] = ()

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(self.time_ms / 1000, UTC)

    @property
    def membership(self) -> Membership | None:
        """Set on a SYSTEM message that tells of a change of a group."""
        if not self.system or self.mime != MEMBERSHIP_MIME:
            return None
        return _membership(self.data)

    @property
    def recalled(self) -> bool:
        """It has no content any more: somebody took it back, or its time is over."""
        return bool(self.state.recalled_by)

    @property
    def edited(self) -> bool:
        return bool(self.state.edited_ms)

    @property
    def streaming(self) -> bool:
        """Its text still grows."""
        return self.state.streaming

    @property
    def reactions(self) -> tuple[Reaction, ...]:
        return self.state.reactions

    def at(self, time_ms: int) -> Message:
        """As it is shown at this time: without its content once it has expired."""
        if self.recalled or not 0 < self.expires_ms <= time_ms:
            return self
        return self.recalled_as(State(revision=self.state.revision, recalled_by=EXPIRY))

    def recalled_as(self, state: State) -> Message:
        """Without its content."""
        return replace(
            self,
            text="",
            data=b"",
            mime="",
            headers={},
            reply_to=0,
            mentions=(),
            mention_all=False,
            media=(),
            state=state,
        )

    def with_content(self, content: Content) -> Message:
        """With this content instead; what it replies to stays."""
        return replace(
            self,
            text=content.text,
            data=content.data,
            mime=content.mime,
            headers=content.headers,
            mentions=content.mentions,
            mention_all=content.mention_all,
            media=content.media,
        )

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
            state=State.from_proto(message.state) if message.HasField("state") else UNCHANGED,
            ordinal=message.ordinal,
            expires_ms=message.expires_ms,
            mentions=tuple(content.mentions),
            mention_all=content.mention_all,
            media=tuple(map(Media.from_proto, content.media)) if content.media else (),
        )

    def to_proto(self) -> pb.Message:
        message = pb.Message(
            message_id=self.id,
            conversation=self.conversation,
            seq=self.seq,
            sender=self.sender,
            time_ms=self.time_ms,
            kind=pb.Message.SYSTEM if self.system else pb.Message.NORMAL,
            client_id=self.client_id,
            state=self.state.to_proto() if self.state != UNCHANGED else None,
            ordinal=self.ordinal,
            expires_ms=self.expires_ms,
        )
        if not self.recalled:
            message.content.CopyFrom(self._content())
        return message

    def _content(self) -> pb.Content:
        content = pb.Content(
            mime=self.mime,
            headers=self.headers,
            reply_to=self.reply_to,
            mentions=self.mentions,
            mention_all=self.mention_all,
            media=[media.to_proto() for media in self.media],
        )
        if self.text:
            content.text = self.text
        elif self.data or not self.media:
            content.data = self.data
        return content


@dataclass(frozen=True, slots=True)
class Sent:
    """The server has it: durable, with its place in the conversation. `duplicate`: an earlier try had stored it.

    Of a change `seq` is its own place, 0 if it takes none (yet), and `state` what its message is after it.
    """

    client_id: str
    message_id: str
    conversation: str
    seq: int
    time_ms: int
    duplicate: bool = False
    number: int = 0
    state: State | None = None

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
            State.from_proto(sent.state) if sent.HasField("state") else None,
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
            state=self.state.to_proto() if self.state is not None else None,
        )


def _membership(data: bytes) -> Membership | None:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    users, settings = told.get("users"), told.get("settings")
    return Membership(
        act=str(told.get("act", "")),
        by=str(told.get("by", "")),
        users=tuple(map(str, users)) if isinstance(users, list) else (),
        role=str(told.get("role", "")),
        name=str(told.get("name", "")),
        settings=settings if isinstance(settings, dict) else {},
    )
