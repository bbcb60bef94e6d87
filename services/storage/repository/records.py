"""The values that go in and out of the repository.

Guarantees: values only. Those of the hot path (StoredMessage, InboxEntry) are named tuples: making one costs a third of
a frozen dataclass (0.4 against 1.3 µs, measured), and every message makes several.

Does not know: how they are laid out in a database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tidings_protocol import client_pb2, kinds

NORMAL, SYSTEM, CHANGE = kinds.NORMAL.number, kinds.SYSTEM.number, kinds.CHANGE
MAX_NUMBER = 2**63 - 1


# (conversation, seq): which message. (user, device): which device.
MessageKey = tuple[str, int]
DeviceKey = tuple[str, str]


class StoredMessage(NamedTuple):
    """An entry of a log as it is now; `change` is what a notice does to its group (an encoded ChangeItem). `left_out`:
    so many bytes of content are there that were not read.

    `before`: how many entries of kind CHANGE lie before it. `act`: of a CHANGE, what it does to which entry (an encoded
    tidings.v1.Change, without the content that an edit or a finish gives, which is `content`). `state`: what later
    changes made of the entry (an encoded storage.FoldedState); of a CHANGE that tells of reactions, all that are there
    after it. `expires_ms`: when it is gone; 0: never. `mentions`: the members who are mentioned by it; EVERYBODY is all
    of them. `former`: of the first edit, if the history of edits is kept, the content before it. `parts`: of a stream
    that has not ended, how many parts are in the content; None: it is no such one.
    """

    conversation: str
    seq: int
    sender: str
    client_id: str
    time_ms: int
    content: bytes
    kind: int = NORMAL
    change: bytes = b""
    left_out: int = 0
    before: int = 0
    act: bytes = b""
    state: bytes = b""
    expires_ms: int = 0
    mentions: tuple[str, ...] = ()
    former: bytes = b""
    parts: int | None = None

    @property
    def ordinal(self) -> int:
        """Its place among the entries that count as unread; 0: a CHANGE, which has none."""
        return 0 if self.kind == CHANGE else self.seq - self.before


def reactions_left_out(seq: int) -> bytes:
    """The act of a CHANGE that told of reactions to an entry which is recalled."""
    return client_pb2.Change(seq=seq, reacted=client_pb2.Change.Reacted()).SerializeToString()


# Stands for all members in the mentions of an entry; no user is called so.
EVERYBODY = "*"


class StreamText(NamedTuple):
    """The text so far of a stream: an encoded Content, and how many parts are in it."""

    conversation: str
    seq: int
    parts: int
    content: bytes


class Fold(NamedTuple):
    """What an entry has become by the CHANGEs up to `revision`; it is written where a lower revision is. `content`:
    None if it stays. `ends`: if it was a stream, that has ended.
    """

    conversation: str
    seq: int
    revision: int
    state: bytes
    content: bytes | None = None
    mentions: tuple[str, ...] = ()
    ends: bool = False


class Erasure(NamedTuple):
    """What the CHANGEs of an entry lose, of those whose seq is `since` or more, and below `below`.

    `contents`: theirs; `mentions`: who stays mentioned by them, while all others go; `everything`: the entry is
    recalled, so nothing stays but that there was a CHANGE: no content, mention, reaction, former content.
    """

    conversation: str
    seq: int
    below: int
    contents: bool
    mentions: tuple[str, ...] = ()
    everything: bool = False
    since: int = 0


class PinList(NamedTuple):
    """The seqs that are pinned in a conversation, the newest pin first, as the CHANGEs up to `at` made it; it is
    written where a lower one is.
    """

    conversation: str
    seqs: tuple[int, ...]
    at: int


class ClientKey(NamedTuple):
    """What makes a send idempotent."""

    conversation: str
    sender: str
    client_id: str


class OpKey(NamedTuple):
    """What makes a change of a group idempotent."""

    conversation: str
    actor: str
    op: str


class MadeChange(NamedTuple):
    """A change that has no notice to carry it, and so is kept by its op (an encoded ChangeItem). `stamp`: that of the
    conversation's document after it.
    """

    key: OpKey
    change: bytes
    time_ms: int
    stamp: int = 0


class Heartbeat(NamedTuple):
    """What a storage node says of itself: everything that it owned at this position of the database is told."""

    boot_id: str
    position: int


class InboxEntry(NamedTuple):
    """Entry `number` of a user's inbox: there is this message. `quiet`: a CHANGE, which moves no chat up a list."""

    user: str
    number: int
    conversation: str
    seq: int
    time_ms: int
    quiet: bool = False


class Span(NamedTuple):
    """Numbers between `after` and `before`, without these two, of a conversation or of a user's inbox."""

    key: str
    after: int = 0
    before: int = MAX_NUMBER
    limit: int = 100
    descending: bool = False


class UnreadSpan(NamedTuple):
    """Entries of a conversation between `after` and `before`, without these two, which a user may not have read:
    `limit` of them at most, the oldest. `hidden`: messages that are as if they were not there.
    """

    conversation: str
    after: int
    before: int
    limit: int
    hidden: frozenset[int] = frozenset()


class Mention(NamedTuple):
    """An entry that mentions a user, with what it does if it is a CHANGE (as `StoredMessage.act`)."""

    seq: int
    act: bytes = b""


class UnreadCount(NamedTuple):
    """What is in an UnreadSpan: how many entries count as unread, and which mention the user, the oldest first.

    `before`: how many CHANGEs lie before the first entry of the span. `last`: the seq of the last one that was looked
    at, 0 if there is none; `ordinal`: how many entries up to that one count as unread for somebody.
    """

    unread: int = 0
    mentions: tuple[Mention, ...] = ()
    before: int = 0
    last: int = 0
    ordinal: int = 0


class HiddenSeqs(NamedTuple):
    """What a user has hidden in a conversation: everything up to `through`, and these messages after it."""

    through: int = 0
    seqs: frozenset[int] = frozenset()

    def hides(self, seq: int) -> bool:
        return seq <= self.through or seq in self.seqs


NOTHING_HIDDEN = HiddenSeqs()


@dataclass(frozen=True, slots=True)
class ConversationDocument:
    """A conversation as it was written last.

    `stamp` counts the changes of the group, `applied_seq` is the notice of the last one that had a notice, `pending` is
    the last change itself, until its members are surely written. `head`, `settled`, `last_ms`, `changes` (how many
    entries up to the head are of kind CHANGE) and `shown` (the newest that is not) may lag: the messages after
    `settled` are to be looked at again. `told` and `told_stamp` may lag too: the events of the messages up to
    that seq, and of the changes without notices up to that stamp, are published. `pinned`: seqs, the newest pin first;
    `pinned_at`: the CHANGE that made it so. `streams`: messages that are streams; some of them may have ended.
    that seq, and of the changes without notices up to that stamp, are published.

    `settings`: what a group has no field for here (an encoded tidings.v1.GroupSettings). `asked_from`: the stamp since
    which joining is asked for; 0: it is not. `bans`: how many users are banned. `dissolved`: for good.
    """

    conversation: str
    kind: int
    name: str = ""
    open: bool = False
    channel: bool = False
    share_history: bool = False
    large_from: int = 0
    version: int = 0
    member_count: int = 0
    stamp: int = 0
    applied_seq: int = 0
    pending: bytes = b""
    head: int = 0
    settled: int = 0
    last_ms: int = 0
    first_seq: int = 0
    told: int = 0
    told_stamp: int = 0
    changes: int = 0
    shown: int = 0
    streams: tuple[int, ...] = ()
    pinned: tuple[int, ...] = ()
    pinned_at: int = 0
    settings: bytes = b""
    slow_s: int = 0
    asked_from: int = 0
    bans: int = 0
    dissolved: bool = False


class Watermark(NamedTuple):
    """What is written behind: never goes back. `applied_stamp`: the pending change of this stamp is done with; 0:
    leave. `was_ahead`: a time that leads this one by more than LEAD_MAX_MS is replaced by it.
    """

    conversation: str
    head: int = 0
    settled: int = 0
    last_ms: int = 0
    first_seq: int = 0
    applied_stamp: int = 0
    was_ahead: bool = False
    told: int = 0
    told_stamp: int = 0
    changes: int = 0
    shown: int = 0


class MemberKey(NamedTuple):
    conversation: str
    user: str


@dataclass(frozen=True, slots=True)
class MemberDocument:
    """A member, or (`gone`) one who was. A write with a lower or equal `stamp` than what is there does nothing.
    `former`: one who was when the group was dissolved, which is remembered. `muted_until_ms`: -1: for ever.
    """

    conversation: str
    user: str
    role: int = 1
    joined_seq: int = 1
    joined_ms: int = 0
    read_seq: int = 0
    delivered_seq: int = 0
    stamp: int = 0
    large: bool = False
    gone: bool = False
    muted_until_ms: int = 0
    former: bool = False


class MemberCursor(NamedTuple):
    """How far a member has read and holds a conversation; never goes back."""

    conversation: str
    user: str
    read_seq: int
    delivered_seq: int


class ReplacedSession(NamedTuple):
    """A session that gave its place to a newer one of its device."""

    session: str
    node: str
    boot_id: str


@dataclass(frozen=True, slots=True)
class SessionDocument:
    """The session of a device, since its access node took the hello. `replaced`: those that it is newer than, the last
    one first; `attempt`: the device's own number for this login, 0 if it gave none.
    """

    user: str
    device: str
    session: str
    kind: int = 0
    node: str = ""
    boot_id: str = ""
    since_ms: int = 0
    client: str = ""
    replaced: tuple[ReplacedSession, ...] = ()
    attempt: int = 0
    address: str = ""  # the client's IP address; empty: not known


class SessionPut(NamedTuple):
    """Put this session where `expected` is (empty: where none is)."""

    document: SessionDocument
    expected: str


class SessionKey(NamedTuple):
    """One session of a device, no later one."""

    user: str
    device: str
    session: str


@dataclass(frozen=True, slots=True)
class UserDocument:
    """A user; `welcomed` since the first session."""

    user: str
    first_seen_ms: int
    last_seen_ms: int = 0
    welcomed: bool = False


class Acknowledged(NamedTuple):
    """A device holds its user's inbox up to this number; never goes back."""

    user: str
    device: str
    number: int
