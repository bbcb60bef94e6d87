"""The ports to what lies beside messages: the texts of streams, what is gone at some time, what users have hidden.

Guarantees: those of all ports (contract.py).
Does not know: who may do what, what follows from it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from services.storage.repository.records import HiddenSeqs, MemberKey, MessageKey, StoredMessage, StreamText

# Messages that a user may hide one by one in a conversation.
HIDDEN_MAX = 10_000


class StreamRepository(Protocol):
    """Messages whose text grows, and the names of those that are open, in the documents of their conversations."""

    async def name(self, keys: Collection[MessageKey]) -> None:
        """Names these; conversations without a document are passed over."""
        ...

    async def unname(self, keys: Collection[MessageKey]) -> None:
        """Takes these names off, where they are."""
        ...

    async def named(self, conversation: str, limit: int) -> list[tuple[str, tuple[int, ...]]]:
        """The next conversations after this one that name some, at most `limit`, by id, with the seqs that they name;
        "": from the first on.
        """
        ...

    async def write(self, texts: Sequence[StreamText]) -> None:
        """Writes each text whose stream is there, has not ended, and has fewer parts; the others stay."""
        ...


class ExpiryRepository(Protocol):
    """Messages that are gone at some time, and what is pinned without being there any more."""

    async def due(self, now_ms: int, limit: int) -> list[StoredMessage]:
        """Messages whose time is over and that are not done with, by their times, at most `limit`, without content."""
        ...

    async def done(self, keys: Collection[MessageKey]) -> None:
        """Nothing of these is left to be erased."""
        ...

    async def unpin(self, keys: Collection[MessageKey]) -> None:
        """Takes these off what is pinned in their conversations, without a change."""
        ...

    async def erase_changes(self, conversation: str, below: int) -> int:
        """Erases what CHANGEs from this seq on say of messages below it, which go; how many CHANGEs."""
        ...


class HiddenRepository(Protocol):
    """What users have hidden for themselves, unique by (conversation, user). It never comes back."""

    async def hide(self, key: MemberKey, seqs: Collection[int], through: int) -> bool:
        """Hides these messages and everything up to `through`. False: nothing is done, since more than HIDDEN_MAX would
        be hidden one by one.
        """
        ...

    async def of(self, keys: Collection[MemberKey]) -> dict[MemberKey, HiddenSeqs]:
        """What is hidden, by (conversation, user)."""
        ...

    async def hiders(self, messages: Collection[MessageKey]) -> dict[MessageKey, set[str]]:
        """The users who have hidden these messages, by (conversation, seq)."""
        ...
