"""What turns hand to the feed of events: what is durable, and what was loaded.

Guarantees: values, and a port; a call of it neither waits nor fails.
Does not know: how events are published (events/).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from services.storage.memory.conversation import CachedConversation
from services.storage.repository.records import StoredMessage


class FedRow(NamedTuple):
    """A message that is durable, with all who get an inbox entry; `trace`: of the send, if it is sampled. `told`: of
    what is not plain, the encoded tidings.v1.Message as all are told of it.
    """

    conversation: CachedConversation
    message: StoredMessage
    recipients: Sequence[str]
    trace: str = ""
    told: bytes = b""


class FedChange(NamedTuple):
    """Acts that a change without notices made (encoded tidings.v1.Membership); `stamp`: the document's after it."""

    conversation: CachedConversation
    stamp: int
    acts: Sequence[bytes]
    time_ms: int


class Feed(Protocol):
    """Takes what is to be told. The rows of one conversation come in the order of their seq."""

    def stored(self, rows: Sequence[FedRow]) -> None:
        """These are durable, and the heads of their conversations are moved."""
        ...

    def changed(self, changes: Sequence[FedChange]) -> None:
        """These are made, and kept in the database."""
        ...

    def loaded(self, conversations: Iterable[CachedConversation]) -> None:
        """These are as the log says now: what nobody is known to have told is told again."""
        ...


class NoFeed:
    """Events are off: nothing is ever left to be told, also if they are put on later."""

    def stored(self, rows: Sequence[FedRow]) -> None:
        for row in rows:
            _skip(row.conversation)

    def changed(self, changes: Sequence[FedChange]) -> None:
        for change in changes:
            _skip(change.conversation)

    def loaded(self, conversations: Iterable[CachedConversation]) -> None:
        for conversation in conversations:
            _skip(conversation)


def _skip(conversation: CachedConversation) -> None:
    conversation.told = conversation.fed = conversation.head
    conversation.told_stamp = conversation.fed_stamp = conversation.document.stamp
