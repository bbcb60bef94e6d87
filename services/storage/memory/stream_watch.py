"""The port to what keeps an eye on streams, and has their texts: whoever stores, changes or loads their messages tells
it.

Guarantees of every implementation: a call that is no coroutine neither waits nor fails.
Does not know: parts, who tells it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from services.storage.folding.texts import StreamTexts
from services.storage.repository.records import MessageKey, StoredMessage


class StreamWatch(StreamTexts, Protocol):
    def has_room(self, conversation: str) -> bool:
        """Whether one more stream may begin there."""
        ...

    async def begun(self, messages: Sequence[StoredMessage]) -> None:
        """These are in the log, and their text may grow. When this returns, whoever loads their conversations finds
        them. Raises Unavailable.
        """
        ...

    async def name(self, keys: Collection[MessageKey]) -> None:
        """These are in the log, may be streams, and may not be named yet: when this returns, whoever loads their
        conversations finds them. Raises Unavailable.
        """
        ...

    def changed(self, keys: Collection[MessageKey]) -> None:
        """A change of these messages is in; if one was a stream, it may have ended."""
        ...

    def found(self, keys: Collection[MessageKey]) -> None:
        """These were streams once, and may be still: their conversations were loaded."""
        ...
