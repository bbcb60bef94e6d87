"""The streams that a node keeps an eye on, and those of which it does not know yet whether they have ended.

    begun, found ──▶ in doubt ──▶ (its document is read) ──▶ open here │ ended
    changed ───────▶ in doubt again: the change may have ended it

Guarantees: bounded: so many streams of one conversation, so many of all, so many bytes of text. What has ended is told
to nobody as open once its document was read. A stream in memory never has less text than its document, as it was read
last.
Does not know: who reads documents, parts (stream.py), lanes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from services.common.clock import Clock
from services.common.telemetry import metrics
from services.storage.folding.shown import state_of
from services.storage.folding.texts import TextSoFar
from services.storage.repository.message_contract import StreamRepository
from services.storage.repository.records import MessageKey, StoredMessage
from services.storage.streams.stream import OpenStream
from tidings_protocol.ids import slot_of

# A stream takes about a kilobyte besides its text.
STREAMS_MAX: Final = 20_000
IN_CONVERSATION_MAX: Final = 100
TEXT_BYTES_MAX: Final = 64 * 1024 * 1024


class OpenStreams:
    """A StreamWatch and StreamTexts."""

    def __init__(self, repository: StreamRepository, clock: Clock, *, text_bytes_max: int = TEXT_BYTES_MAX) -> None:
        self._repository = repository
        self._clock = clock
        self._text_bytes_max = text_bytes_max
        self._open: dict[MessageKey, OpenStream] = {}
        self._in_doubt: dict[MessageKey, None] = {}
        self._ended: dict[MessageKey, None] = {}  # and perhaps named still
        self._counts: Counter[str] = Counter()
        self._bytes = 0

    @property
    def count(self) -> int:
        """How many are open, as far as it is known."""
        return len(self._open)

    # ---- from those who store, change and load messages

    def has_room(self, conversation: str) -> bool:
        return len(self._open) < STREAMS_MAX and self._counts[conversation] < IN_CONVERSATION_MAX

    async def begun(self, messages: Sequence[StoredMessage]) -> None:
        await self.name([(each.conversation, each.seq) for each in messages])
        for message in messages:
            self._add(OpenStream(message, self._clock.now_s()))

    async def name(self, keys: Collection[MessageKey]) -> None:
        await self._repository.name(keys)

    def changed(self, keys: Collection[MessageKey]) -> None:
        self._in_doubt.update(dict.fromkeys(key for key in keys if key in self._open))

    def found(self, keys: Collection[MessageKey]) -> None:
        self._in_doubt.update(dict.fromkeys(keys))

    def so_far(self, key: MessageKey) -> TextSoFar | None:
        stream = self._open.get(key)
        return None if stream is None else TextSoFar(stream.parts, stream.text)

    # ---- from those who look after them

    @property
    def in_doubt(self) -> list[MessageKey]:
        """Those whose documents are to be read."""
        return list(self._in_doubt)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for more text."""
        return self._bytes >= self._text_bytes_max

    def unsure(self, keys: Iterable[MessageKey]) -> list[MessageKey]:
        """Those of these, each once, whose documents are to be read before anything is done with them."""
        return [key for key in dict.fromkeys(keys) if key not in self._open or key in self._in_doubt]

    def get(self, key: MessageKey) -> OpenStream | None:
        return self._open.get(key)

    def all(self) -> list[OpenStream]:
        return list(self._open.values())

    def learn(self, keys: Sequence[MessageKey], found: Mapping[MessageKey, StoredMessage]) -> list[MessageKey]:
        """The documents of these were read; those that are open no more."""
        ended: list[MessageKey] = []
        for key in keys:
            is_known = key in self._open or key in self._in_doubt
            self._in_doubt.pop(key, None)
            message = found.get(key)
            if message is None or not self._is_open(message):
                self.drop(key)
                ended.append(key)
                if is_known:
                    self._ended[key] = None
                continue
            present = self._open.get(key)
            if present is None or present.parts < (message.parts or 0):
                self._add(OpenStream(message, self._clock.now_s()))
            else:
                present.written = message.parts or 0
        return ended

    @property
    def ended(self) -> list[MessageKey]:
        """Those that have ended, and are to be named no more."""
        return list(self._ended)

    def unnamed(self, keys: Iterable[MessageKey]) -> None:
        """These are named no more."""
        for key in keys:
            self._ended.pop(key, None)

    def grown(self, size: int) -> None:
        """The texts have so many bytes more."""
        self._bytes += size

    def drop(self, key: MessageKey) -> None:
        """It has ended, or another node owns it."""
        self._in_doubt.pop(key, None)
        stream = self._open.pop(key, None)
        if stream is not None:
            self._bytes -= stream.size
            self._counts[key[0]] -= 1
            if not self._counts[key[0]]:
                del self._counts[key[0]]
            metrics.STREAMS_OPEN.set(len(self._open))

    def doubt(self, conversations: Collection[str]) -> None:
        """Another node wrote to these conversations."""
        self._in_doubt.update(dict.fromkeys(key for key in self._open if key[0] in conversations))

    def doubt_slots(self, slots: frozenset[int]) -> None:
        """Others may have written to the conversations in these slots."""
        self._in_doubt.update(dict.fromkeys(key for key in self._open if slot_of(key[0]) in slots))

    def _is_open(self, message: StoredMessage) -> bool:
        state = state_of(message, self._clock.wall_ms())
        return message.parts is not None and state is not None and state.streaming and not state.recalled_by

    def _add(self, stream: OpenStream) -> None:
        self.drop(stream.key)
        self._open[stream.key] = stream
        self._counts[stream.key[0]] += 1
        self._bytes += stream.size
        metrics.STREAMS_OPEN.set(len(self._open))
