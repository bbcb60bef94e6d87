"""The ports of the repository: what storage asks of its database, and what the database promises.

Guarantees of every implementation (tests/contract/repository runs on all):
- a write that returns is durable on a majority; a read sees only what is (nothing that could be rolled back);
- a write that raises Unavailable has an UNKNOWN outcome: it may be done, in part, now or a little later. An ordered
  insert is always done up to some point, in its order, never with a gap;
- every method may be repeated, and several nodes may call them at once.

Does not know: who owns what, what follows from what.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from services.storage.repository.records import (
    MAX_NUMBER,
    Acknowledged,
    ClientKey,
    ConversationDocument,
    InboxEntry,
    MadeChange,
    MemberCursor,
    MemberDocument,
    MemberKey,
    OpKey,
    SessionDocument,
    SessionKey,
    SessionPut,
    Span,
    StoredMessage,
    UserDocument,
    Watermark,
)


class Conflict(Enum):
    """Why an ordered insert stopped."""

    NUMBER = "number"  # the place is taken
    CLIENT = "client"  # this sender used this client id in this conversation before


class Inserted(NamedTuple):
    """The first `done` are in; the next one met the conflict, and nothing after it was tried."""

    done: int
    conflict: Conflict | None = None


class MessageRepository(Protocol):
    """Messages, unique by (conversation, seq) and by (conversation, sender, client id)."""

    async def insert(self, messages: Sequence[StoredMessage]) -> Inserted:
        """In this order."""
        ...

    async def pages(
        self, spans: Sequence[Span], *, content: bool = True, content_max: int = MAX_NUMBER
    ) -> list[list[StoredMessage]]:
        """The messages of each span in its order; without content if that is not needed. Content of more bytes than
        `content_max` is left out (`left_out`).
        """
        ...

    async def get(
        self, keys: Sequence[tuple[str, int]], *, content_max: int = MAX_NUMBER
    ) -> dict[tuple[str, int], StoredMessage]:
        """Those of (conversation, seq) that are there; content of more bytes than `content_max` is left out."""
        ...

    async def find(self, keys: Collection[ClientKey]) -> dict[ClientKey, StoredMessage]:
        """Those that are there."""
        ...

    async def remove(self, conversation: str, below: int) -> int:
        """Forgets the messages with a lower seq; how many there were."""
        ...


class InboxRepository(Protocol):
    """Inbox entries, unique by (user, number)."""

    async def insert(self, entries: Sequence[InboxEntry]) -> Inserted:
        """In this order."""
        ...

    async def pages(self, spans: Sequence[Span]) -> list[list[InboxEntry]]:
        """The entries of each span, in its order."""
        ...

    async def search(
        self, wanted: Sequence[tuple[Span, Collection[tuple[str, int]]]]
    ) -> list[dict[tuple[str, int], int]]:
        """For each span the numbers in it that these messages, as (conversation, seq), have; its limit is ignored."""
        ...

    async def remove(self, user: str, below: int) -> int:
        """Forgets the entries with a lower number; how many there were."""
        ...


class ConversationRepository(Protocol):
    """One document for each conversation."""

    async def load(self, conversations: Collection[str]) -> dict[str, ConversationDocument]:
        """Those that are there."""
        ...

    async def create(self, documents: Sequence[ConversationDocument]) -> None:
        """Those that are there already stay as they are."""
        ...

    async def swap(self, document: ConversationDocument, expected_stamp: int) -> bool:
        """Writes all but the watermarks if the stamp is the expected one (0: if there is none yet); whether it was."""
        ...

    async def advance(self, watermarks: Sequence[Watermark]) -> None:
        """Moves what is lower up; conversations that are not there are passed over."""
        ...

    async def after(self, conversation: str, limit: int) -> list[ConversationDocument]:
        """The next ones by id."""
        ...

    async def times(self, conversations: Collection[str]) -> dict[str, int]:
        """The times of the last messages, as written, of those that are there."""
        ...


class MemberRepository(Protocol):
    """Members of conversations, unique by (conversation, user). Who is gone is in no answer."""

    async def all_in(self, conversations: Collection[str]) -> dict[str, list[MemberDocument]]:
        """All members of each; for conversations that are not large."""
        ...

    async def find(self, keys: Collection[MemberKey]) -> dict[MemberKey, MemberDocument]:
        """Those that are members."""
        ...

    async def write(self, members: Sequence[MemberDocument]) -> None:
        """Each if its stamp is higher than that of what is there, or if nothing is; cursors never go back."""
        ...

    async def advance(self, cursors: Sequence[MemberCursor]) -> None:
        """Moves what is lower up; those that are no members are passed over."""
        ...

    async def page(self, conversation: str, after: str, limit: int) -> list[MemberDocument]:
        """The next ones by user id."""
        ...

    async def memberships(self, users: Collection[str], *, large_only: bool) -> dict[str, list[MemberDocument]]:
        """Where each of the users is a member."""
        ...

    async def joined(self, user: str) -> list[str]:
        """The conversations that the user is a member of."""
        ...

    async def successor(self, conversation: str, owner: str) -> str:
        """The oldest admin, else the oldest member, but not the owner; empty: nobody else is there."""
        ...


class ChangeRepository(Protocol):
    """Changes of groups that have no notice, unique by (conversation, actor, op); for a day at least."""

    async def keep(self, changes: Sequence[MadeChange]) -> None:
        """Those that are there already stay as they are."""
        ...

    async def find(self, keys: Collection[OpKey]) -> dict[OpKey, bytes]:
        """Those that are there, as they were encoded."""
        ...


class SessionRepository(Protocol):
    """Sessions, unique by (user, device)."""

    async def of_users(self, users: Collection[str]) -> dict[str, list[SessionDocument]]:
        """All sessions of each of the users."""
        ...

    async def put(self, puts: Sequence[SessionPut]) -> list[bool]:
        """Which of them are in: they found what they expected, or themselves. (user, device) is in it once."""
        ...

    async def remove(self, keys: Collection[SessionKey]) -> None:
        """A later session of the same device stays."""
        ...

    async def boots(self) -> set[str]:
        """The boot ids under which there are sessions."""
        ...

    async def under(self, boot_id: str, after: tuple[str, str], limit: int) -> list[SessionDocument]:
        """The next ones of this boot after (user, device), in an order that stays; ("", ""): the first."""
        ...


class UserRepository(Protocol):
    """Users, what their devices hold, and the identity of the data."""

    async def find(self, users: Collection[str]) -> dict[str, UserDocument]:
        """Those that are there."""
        ...

    async def held(self, users: Collection[str]) -> dict[str, int]:
        """Up to which inbox number some device of each user holds everything, whatever the number of devices."""
        ...

    async def create(self, users: Collection[str], now_ms: int, *, welcomed: bool = False) -> None:
        """Those that are there already stay, but become welcomed if that is said."""
        ...

    async def seen(self, times: Mapping[str, int]) -> None:
        """The last time of each user, never back."""
        ...

    async def acknowledge(self, held: Sequence[Acknowledged]) -> None:
        """Moves what is lower up."""
        ...

    async def after(self, user: str, limit: int) -> list[UserDocument]:
        """The next ones by id, without their devices."""
        ...

    async def epoch(self, candidate: str) -> str:
        """The identity of the data: the candidate if it has none yet."""
        ...


class TimeRepository(Protocol):
    """The clock that all nodes share."""

    async def now_ms(self) -> int:
        """The database's time of day."""
        ...


@dataclass(frozen=True, slots=True)
class Repository:
    """All ports of one database."""

    messages: MessageRepository
    inboxes: InboxRepository
    conversations: ConversationRepository
    members: MemberRepository
    changes: ChangeRepository
    sessions: SessionRepository
    users: UserRepository
    time: TimeRepository
