"""The port to the texts of streams that have not ended, as far as their owner has them in memory.

Guarantees of every implementation: it neither waits nor fails, and what it gives is at least what the entry's document
has.
Does not know: who wrote the parts, when they are written.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from services.storage.folding.contents import with_text
from services.storage.repository.records import MessageKey, StoredMessage


class TextSoFar(NamedTuple):
    """The text that the first `parts` parts of a stream make, with what it began with."""

    parts: int
    text: str


class StreamTexts(Protocol):
    def so_far(self, key: MessageKey) -> TextSoFar | None:
        """The text of this stream; None: what its document has is all that is known."""
        ...


class NoStreamTexts:
    """Nothing is in memory."""

    def so_far(self, _key: MessageKey) -> TextSoFar | None:
        return None


def as_of_now(message: StoredMessage, texts: StreamTexts) -> StoredMessage:
    """The message with the text that it has by now, if it is a stream; its document is behind by a second or two."""
    if message.parts is None:
        return message
    so_far = texts.so_far((message.conversation, message.seq))
    if so_far is None or so_far.parts <= message.parts:
        return message
    return message._replace(content=with_text(message.content, so_far.text), parts=so_far.parts)
