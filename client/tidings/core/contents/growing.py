"""Streams of others, as their parts come. Pure.

Guarantees: the copy of a stream grows by each part once and in order. A part that lacks one before it waits; the
message is then asked for, at most once in `AGAIN_S`, and what waits behind it follows.

Bounds: `STREAMS_MAX` streams with parts that wait, `WAITING_MAX` of each; beyond that the message is read again later.

Does not know: when a stream ends (a change of its message says so).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from tidings.core.contents.copies import Copies
from tidings.core.messages.wants import WantMessage
from tidings.model import StreamGrew
from tidings_protocol import client_pb2 as pb

STREAMS_MAX = 64
WAITING_MAX = 256
AGAIN_S = 2.0  # so often the server writes a stream down


@dataclass(slots=True)
class _Waiting:
    """Parts that came before those before them. `asked_at`: when the message was asked for; None: not yet."""

    parts: dict[int, str] = field(default_factory=dict)
    asked_at: float | None = None


class Growing:
    def __init__(self, copies: Copies) -> None:
        self._copies = copies
        self._waiting: OrderedDict[tuple[str, int], _Waiting] = OrderedDict()

    def part(self, told: pb.StreamPart, now: float) -> tuple[list[StreamGrew], WantMessage | None]:
        """One part came: what the application is told, and what is to be asked."""
        copy = self._copies.get(told.conversation, told.seq)
        if copy is None:
            return [StreamGrew(told.conversation, told.seq, told.part, told.text)], None
        if not copy.streaming or told.part <= copy.state.parts:
            return [], None
        if self._copies.grow(told.conversation, told.seq, told.part, told.text):
            grew = self._grew(told.conversation, told.seq, told.part, told.text)
            return [grew, *self._follow(told.conversation, told.seq)], None
        return [], self._hold(told, now)

    def read(self, conversation: str, seq: int) -> list[StreamGrew]:
        """The message was read again."""
        copy = self._copies.get(conversation, seq)
        if copy is None:
            return []
        return [self._grew(conversation, seq, copy.state.parts, ""), *self._follow(conversation, seq)]

    def clear(self) -> None:
        self._waiting.clear()

    def _hold(self, told: pb.StreamPart, now: float) -> WantMessage | None:
        place = (told.conversation, told.seq)
        waiting = self._waiting.setdefault(place, _Waiting())
        self._waiting.move_to_end(place)
        if len(self._waiting) > STREAMS_MAX:
            self._waiting.popitem(last=False)
        if len(waiting.parts) < WAITING_MAX:
            waiting.parts[told.part] = told.text
        if waiting.asked_at is not None and now < waiting.asked_at + AGAIN_S:
            return None
        waiting.asked_at = now
        return WantMessage(*place)

    def _follow(self, conversation: str, seq: int) -> list[StreamGrew]:
        """The parts that waited for those that are here now."""
        waiting = self._waiting.get((conversation, seq))
        if waiting is None:
            return []
        grew = [
            self._grew(conversation, seq, part, waiting.parts[part])
            for part in sorted(waiting.parts)
            if self._copies.grow(conversation, seq, part, waiting.parts[part])
        ]
        copy = self._copies.get(conversation, seq)
        have = copy.state.parts if copy is not None else 0
        waiting.parts = {part: text for part, text in waiting.parts.items() if part > have}
        if not waiting.parts:
            del self._waiting[conversation, seq]
        return grew

    def _grew(self, conversation: str, seq: int, part: int, text: str) -> StreamGrew:
        return StreamGrew(conversation, seq, part, text, self._copies.get(conversation, seq))
