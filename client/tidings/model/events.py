"""What an application is told besides messages: receipts, presence, signals, and how its own side stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from tidings.model.changes import MessageChanged
from tidings.model.groups import Group
from tidings.model.messages import Message
from tidings.model.people import Preferences, Profile
from tidings_protocol import client_pb2 as pb


class DeviceKind(IntEnum):
    """Decides the heartbeat: a mobile device is asked less often."""

    WEB = pb.Hello.WEB
    MOBILE = pb.Hello.MOBILE
    DESKTOP = pb.Hello.DESKTOP
    BOT = pb.Hello.BOT


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


@dataclass(frozen=True, slots=True)
class StreamGrew:
    """A message that is still being written has more text. Not promised: the end of the stream brings it all.

    `text` was put behind what was there; empty: it was read again. `message`: as it is now, None if this device does
    not have it at hand.
    """

    conversation: str
    seq: int
    part: int
    text: str
    message: Message | None = None


@dataclass(frozen=True, slots=True)
class Expired:
    """The time of a message is over: it is shown without its content from now on."""

    message: Message


@dataclass(frozen=True, slots=True)
class Hidden:
    """The user's other device hides these messages: `seqs`, and all up to `through`."""

    conversation: str
    seqs: tuple[int, ...]
    through: int

    @classmethod
    def from_proto(cls, hidden: pb.Hidden) -> Hidden:
        return cls(hidden.conversation, tuple(hidden.seqs), hidden.through)


@dataclass(frozen=True, slots=True)
class PreferencesChanged:
    """The user's other device set these."""

    preferences: Preferences


@dataclass(frozen=True, slots=True)
class ProfileChanged:
    """A watched user is shown differently now."""

    profile: Profile


Notice = (
    Receipt
    | Presence
    | Signal
    | Group
    | Progress
    | Link
    | Restarted
    | NotKept
    | StreamGrew
    | Expired
    | Hidden
    | PreferencesChanged
    | ProfileChanged
)
Event = Message | MessageChanged | Notice
