"""The ports of the repository: what storage asks of its database, and what the database promises.

Guarantees of every implementation (tests/contract/repository runs on all):
- a write that returns is durable on a majority; a read sees only what is (nothing that could be rolled back);
- every method raises Unavailable if the database does not answer within its deadline (`mongodb_timeout_s`), and
  Internal if it refuses what it is asked; no other error comes out;
- a write that raises Unavailable has an UNKNOWN outcome: it may be done, in part, now or a little later. An ordered
  insert is always done up to some point, in its order, never with a gap;
- cancelling a read is safe. Cancelling a write is as if it had raised Unavailable: read before you write again;
- every method may be repeated, and several nodes may call them at once;
- an answer keyed by what was asked leaves out what is not there; an empty question is answered with nothing.

Units: times are milliseconds since 1970 by the database's clock; a seq or number is 1 or more.

Does not know: who owns what, what follows from what.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from services.storage.repository.group_contract import GroupPorts
from services.storage.repository.message_contract import ExpiryRepository, HiddenRepository, StreamRepository
from services.storage.repository.people import BlockRepository, PreferenceRepository, ProfileRepository
from services.storage.repository.reactions import ReactionRepository
from services.storage.repository.records import (
    MAX_NUMBER,
    Acknowledged,
    ClientKey,
    ConversationDocument,
    DeviceKey,
    Erasure,
    Fold,
    Heartbeat,
    InboxEntry,
    MadeChange,
    MemberCursor,
    MemberDocument,
    MemberKey,
    MessageKey,
    OpKey,
    PinList,
    SessionDocument,
    SessionKey,
    SessionPut,
    Span,
    StoredMessage,
    UnreadCount,
    UnreadSpan,
    UserDocument,
    Watermark,
)

# Mentions that are told of one span of unread entries.
MENTIONS_MAX = 200


class Conflict(Enum):
    """Why an ordered insert stopped."""

    NUMBER = "number"  # the place is taken
    CLIENT = "client"  # this sender used this client id in this conversation before
    ENTRY = "entry"  # the number of an inbox is taken, told by an insert of messages and entries


class Inserted(NamedTuple):
    """The first `done` are in; the next one met the conflict, and nothing after it was tried."""

    done: int
    conflict: Conflict | None = None


class LogRepository(Protocol):
    """Messages and inbox entries as one log: what is inserted here is read by the ports of both."""

    async def insert(self, messages: Sequence[StoredMessage], entries: Sequence[InboxEntry]) -> Inserted:
        """Inserts the messages, then the entries, in this order, up to the first that meets a conflict: how many of
        both are in, and which conflict (NUMBER and CLIENT of a message, ENTRY of an entry).
        """
        ...


class MessageRepository(Protocol):
    """Messages, unique by (conversation, seq) and by (conversation, sender, client id)."""

    async def insert(self, messages: Sequence[StoredMessage]) -> Inserted:
        """Inserts them in this order, up to the first that meets a conflict: how many are in, and which conflict."""
        ...

    async def pages(
        self, spans: Sequence[Span], *, content: bool = True, content_max: int = MAX_NUMBER
    ) -> list[list[StoredMessage]]:
        """The messages of each span, aligned with the spans, each page in the order of its span.

        `content` False: none of it is read. Content of more than `content_max` bytes is left out, and `left_out` says
        how many bytes that are.
        """
        ...

    async def get(
        self, keys: Sequence[MessageKey], *, content_max: int = MAX_NUMBER
    ) -> dict[MessageKey, StoredMessage]:
        """The messages that are there, by (conversation, seq); content of more than `content_max` bytes is left out."""
        ...

    async def find(self, keys: Collection[ClientKey]) -> dict[ClientKey, StoredMessage]:
        """The messages that were stored with these client ids, by the client id."""
        ...

    async def fold(self, folds: Sequence[Fold]) -> None:
        """Writes what entries have become, each where what is there has a lower revision; those that are not there are
        passed over.
        """
        ...

    async def erase(self, erasures: Sequence[Erasure]) -> None:
        """Takes from the CHANGEs of these entries what they lose."""
        ...

    async def unread(self, user: str, spans: Sequence[UnreadSpan], now_ms: int) -> list[UnreadCount]:
        """What each span has for this user, aligned with the spans, all with one command if they are not many. What is
        hidden in a span is hidden in all that a call has of its conversation.

        A message counts unless it is the user's own, recalled, or its time was over at `now_ms`; a CHANGE never counts.
        Of these, and of others' CHANGEs, those are told that mention the user or everybody, MENTIONS_MAX at most.
        """
        ...

    async def remove(self, conversation: str, below: int) -> int:
        """Removes the messages with a seq below this one, and what makes them idempotent; how many there were."""
        ...


class InboxRepository(Protocol):
    """Inbox entries, unique by (user, number)."""

    async def insert(self, entries: Sequence[InboxEntry]) -> Inserted:
        """Inserts them in this order, up to the first whose number is taken: how many are in."""
        ...

    async def pages(self, spans: Sequence[Span]) -> list[list[InboxEntry]]:
        """The entries of each span, aligned with the spans, each page in the order of its span."""
        ...

    async def search(self, wanted: Sequence[tuple[Span, Collection[MessageKey]]]) -> list[dict[MessageKey, int]]:
        """The numbers that these messages have in each span, by (conversation, seq), aligned with what is wanted. The
        limit of a span is ignored.
        """
        ...

    async def remove(self, user: str, below: int) -> int:
        """Removes the entries with a number below this one; how many there were."""
        ...


class ConversationRepository(Protocol):
    """One document for each conversation."""

    async def load(self, conversations: Collection[str]) -> dict[str, ConversationDocument]:
        """The documents that are there, by conversation."""
        ...

    async def create(self, documents: Sequence[ConversationDocument]) -> None:
        """Writes the documents of conversations that have none; the others stay as they are."""
        ...

    async def swap(self, document: ConversationDocument, expected_stamp: int) -> bool:
        """Writes all but the watermarks, if the stamp is the expected one (0: if there is none yet). Whether it was."""
        ...

    async def advance(self, watermarks: Sequence[Watermark]) -> None:
        """Moves up what is lower; conversations that are not there are passed over."""
        ...

    async def pin(self, lists: Sequence[PinList]) -> None:
        """Writes what is pinned, each where a lower CHANGE has made the list; conversations that are not there are
        passed over.
        """
        ...

    async def after(self, conversation: str, limit: int) -> list[ConversationDocument]:
        """The documents of the next conversations after this id, by id, at most `limit`; "": from the first on."""
        ...

    async def times(self, conversations: Collection[str]) -> dict[str, int]:
        """The times of the last messages in ms, by conversation, as they were written last: they may lag."""
        ...


class MemberRepository(Protocol):
    """Members of conversations, unique by (conversation, user). Who is gone is in no answer."""

    async def all_in(self, conversations: Collection[str]) -> dict[str, list[MemberDocument]]:
        """All members, by conversation. For conversations that are not large: there is no limit."""
        ...

    async def find(self, keys: Collection[MemberKey]) -> dict[MemberKey, MemberDocument]:
        """Those of the users that are members."""
        ...

    async def write(self, members: Sequence[MemberDocument]) -> None:
        """Writes each one whose stamp is higher than that of what is there, or where nothing is. Cursors never go back:
        the higher one of each stays, whatever the stamp.
        """
        ...

    async def advance(self, cursors: Sequence[MemberCursor]) -> None:
        """Moves up what is lower; those that are no members are passed over."""
        ...

    async def page(self, conversation: str, after: str, limit: int) -> list[MemberDocument]:
        """The next members after this user, by user id, at most `limit`; "": from the first on."""
        ...

    async def memberships(self, users: Collection[str], *, large_only: bool) -> dict[str, list[MemberDocument]]:
        """Where each of the users is a member, by user; `large_only`: of the large groups and b:all."""
        ...

    async def joined(self, user: str) -> list[str]:
        """The ids of all conversations that the user is a member of, in no order."""
        ...

    async def leaders(self, conversation: str) -> list[MemberDocument]:
        """The owner and the admins, in no order; at most LEADERS_MAX of them."""
        ...

    async def successor(self, conversation: str, owner: str) -> str:
        """The oldest admin, else the oldest member, but not the owner; empty: nobody else is there."""
        ...


class ChangeRepository(Protocol):
    """Changes of groups that have no notice, unique by (conversation, actor, op); for a day at least."""

    async def keep(self, changes: Sequence[MadeChange]) -> None:
        """Keeps those that are not there yet; the others stay as they are."""
        ...

    async def find(self, keys: Collection[OpKey]) -> dict[OpKey, bytes]:
        """The encoded changes that are there, by op."""
        ...

    async def after(self, conversation: str, stamp: int) -> list[MadeChange]:
        """The changes of this conversation with a higher stamp, by stamp."""
        ...


class FeedRepository(Protocol):
    """What the feed of events has to know of the database as a whole: positions, which only grow, and heartbeats."""

    async def position(self) -> int:
        """Where the database is now: whatever was written before has no higher position."""
        ...

    async def written_after(self, position: int) -> set[str] | None:
        """The conversations of the messages, and of the changes without notices, that were written after this
        position, until now; None: the database does not remember that far back.
        """
        ...

    async def beat(self, heartbeat: Heartbeat) -> None:
        """Writes the heartbeat of a boot in the place of the one before."""
        ...

    async def heartbeats(self) -> list[Heartbeat]:
        """Those of all boots, also of those that are not alive."""
        ...

    async def forget(self, boots: Collection[str]) -> None:
        """Removes the heartbeats of these boots."""
        ...


class SessionRepository(Protocol):
    """Sessions, unique by (user, device)."""

    async def of_users(self, users: Collection[str]) -> dict[str, list[SessionDocument]]:
        """All sessions, by user, also those on dead nodes."""
        ...

    async def put(self, puts: Sequence[SessionPut]) -> list[bool]:
        """Puts each session where the expected one is. Which of them are in, aligned: they found what they expected, or
        themselves. A (user, device) may be in `puts` once only.
        """
        ...

    async def remove(self, keys: Collection[SessionKey]) -> None:
        """Removes just these sessions: a later one of the same device stays."""
        ...

    async def boots(self) -> set[str]:
        """The boot ids under which there are sessions."""
        ...

    async def under(self, boot_id: str, after: DeviceKey, limit: int) -> list[SessionDocument]:
        """The next sessions of this boot after (user, device), at most `limit`, in an order that stays the same;
        ("", ""): from the first on.
        """
        ...


class UserRepository(Protocol):
    """Users, what their devices hold, and the epoch of the data."""

    async def find(self, users: Collection[str]) -> dict[str, UserDocument]:
        """The users that are there, by id."""
        ...

    async def held(self, users: Collection[str]) -> dict[str, int]:
        """The highest inbox number up to which some device of each user holds everything, by user; one read, however
        many devices there are.
        """
        ...

    async def create(self, users: Collection[str], now_ms: int, *, welcomed: bool = False) -> None:
        """Creates those that are not there, first seen at `now_ms`; the others stay, but become welcomed if that is
        said.
        """
        ...

    async def seen(self, times: Mapping[str, int]) -> None:
        """Moves up the times in ms at which these users were last seen; users that are not there are passed over."""
        ...

    async def acknowledge(self, held: Sequence[Acknowledged]) -> None:
        """Moves up the numbers that devices hold."""
        ...

    async def after(self, user: str, limit: int) -> list[UserDocument]:
        """The next users after this id, by id, at most `limit`, without their devices; "": from the first on."""
        ...

    async def epoch(self, candidate: str) -> str:
        """The epoch of the data, which never changes: the candidate, if it has none yet."""
        ...


class TimeRepository(Protocol):
    """The clock that all nodes share."""

    async def now_ms(self) -> int:
        """The database's time of day in ms. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Repository:
    """All ports of one database."""

    log: LogRepository
    messages: MessageRepository
    inboxes: InboxRepository
    conversations: ConversationRepository
    members: MemberRepository
    changes: ChangeRepository
    feed: FeedRepository
    sessions: SessionRepository
    users: UserRepository
    preferences: PreferenceRepository
    blocks: BlockRepository
    profiles: ProfileRepository
    time: TimeRepository
    hidden: HiddenRepository
    streams: StreamRepository
    expiry: ExpiryRepository
    reactions: ReactionRepository
    groups: GroupPorts
