"""What users have set for themselves: preferences of conversations, whom they block, their profiles. Values and ports.

Guarantees: those of contract.py, where the ports stand with the others.

Does not know: who may set what, and what follows from it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class PreferenceKey(NamedTuple):
    user: str
    conversation: str


class Draft(NamedTuple):
    """A text that is not sent yet. `joined_ms`: of the membership that it is of, in a group."""

    text: str
    joined_ms: int = 0


class Hiding(NamedTuple):
    """Not in lists until there is a message after this seq. `joined_ms`: as of a draft."""

    after: int
    joined_ms: int = 0


NO_DRAFT = Draft("")
NOT_HIDDEN = Hiding(-1)


@dataclass(frozen=True, slots=True)
class PreferenceDocument:
    """How a user wants to have a conversation; as it is at first, but for what was set."""

    user: str
    conversation: str
    muted_until_ms: int = 0
    pinned: bool = False
    archived: bool = False
    marked_unread: bool = False
    draft: Draft = NO_DRAFT
    hiding: Hiding = NOT_HIDDEN

    @property
    def key(self) -> PreferenceKey:
        return PreferenceKey(self.user, self.conversation)


class PreferenceChange(NamedTuple):
    """What is set; None: it stays as it is."""

    key: PreferenceKey
    muted_until_ms: int | None = None
    pinned: bool | None = None
    archived: bool | None = None
    marked_unread: bool | None = None
    draft: Draft | None = None
    hiding: Hiding | None = None


def merged(changes: Sequence[PreferenceChange]) -> list[PreferenceChange]:
    """One change for each key, in which the later of two changes of one thing counts."""
    by_key: dict[PreferenceKey, PreferenceChange] = {}
    for change in changes:
        before = by_key.get(change.key, change)
        given = {name: value for name, value in change._asdict().items() if value is not None}
        by_key[change.key] = before._replace(**given)
    return list(by_key.values())


class BlockKey(NamedTuple):
    """`user` takes no messages from `blocked`."""

    user: str
    blocked: str


class ProfileDocument(NamedTuple):
    """A user's profile (an encoded tidings.v1.Profile). `version`: 1, 2, 3 …; `op`: of the request that set it."""

    user: str
    version: int
    profile: bytes
    op: str


class PreferenceRepository(Protocol):
    """Preferences, unique by (user, conversation)."""

    async def change(self, changes: Sequence[PreferenceChange]) -> dict[PreferenceKey, PreferenceDocument]:
        """Does all of them, one after the other where they are of one key; the preferences as they are then."""
        ...

    async def find(self, keys: Collection[PreferenceKey]) -> dict[PreferenceKey, PreferenceDocument]:
        """The preferences of those of the keys of which something was ever set."""
        ...

    async def marked(self, conversations: Collection[str]) -> dict[str, set[str]]:
        """Who has marked these conversations as unread, by conversation."""
        ...


class BlockRepository(Protocol):
    """Who blocks whom, unique by (user, blocked)."""

    async def put(self, keys: Sequence[BlockKey], now_ms: int) -> None:
        """Blocks from this time on; those that are there already keep their time."""
        ...

    async def remove(self, keys: Sequence[BlockKey]) -> None:
        """Ends these blocks."""
        ...

    async def find(self, keys: Collection[BlockKey]) -> dict[BlockKey, int]:
        """Those of these blocks that are there, with the times since which they are."""
        ...

    async def page(self, user: str, after: str, limit: int) -> list[str]:
        """The next ones whom this user blocks, by user id, at most `limit`; "": from the first on."""
        ...


class ProfileRepository(Protocol):
    """Profiles, unique by user."""

    async def find(self, users: Collection[str]) -> dict[str, ProfileDocument]:
        """Those of the users who have one."""
        ...

    async def put(self, user: str, profile: bytes, op: str, expected: int) -> ProfileDocument | None:
        """Puts this profile in the place of the version that is expected (0: of any, or of none), with the next
        version; what is there then, None: nothing. It is in if the `op` is this one, which is done once.
        """
        ...
