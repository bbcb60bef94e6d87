"""Streams that this client writes: their parts, gathered, sent, and sent again from where the server wants them. Pure.

Guarantees: what is written goes out in order, as at most one part in `PART_EVERY_S` for each stream, which then has all
that was written meanwhile; so what is written faster than the server takes parts costs no more parts. Nothing is cut
into parts while there is no session. In each new session the last part goes out once more: if the server lacks one
before it, it says which, and the stream goes on from there.

Does not know: how a stream begins and ends (shell/stream.py): a send and a change, which are durable. Parts are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tidings_protocol import client_pb2 as pb
from tidings_protocol.errors import TidingsError, error_of

PART_EVERY_S = 0.05
PART_IDS = 1 << 52  # ids of the frames of parts: beyond those of requests, one for each stream


@dataclass(slots=True)
class _Writing:
    """`text`: what is in no part yet. `next`: the part that goes out next. `ended`: nothing more is written."""

    conversation: str
    seq: int
    parts: list[str] = field(default_factory=list)
    text: str = ""
    next: int = 1
    not_before: float = 0.0
    ended: bool = False
    error: TidingsError | None = None

    @property
    def waits(self) -> bool:
        return self.error is None and (bool(self.text) or self.next <= len(self.parts))


class Writings:
    def __init__(self) -> None:
        self._writings: dict[int, _Writing] = {}
        self._last_number = 0

    def begin(self, conversation: str, seq: int) -> int:
        """A stream was sent: its number here."""
        self._last_number += 1
        self._writings[self._last_number] = _Writing(conversation, seq)
        return self._last_number

    def write(self, number: int, text: str) -> None:
        """Raises what the server said of the stream. A Tick must follow."""
        writing = self._writings[number]
        if writing.error is not None:
            raise writing.error
        writing.text += text

    def end(self, number: int) -> int:
        """All is written: how many parts there are. A Tick must follow."""
        writing = self._writings[number]
        _cut(writing)
        if not writing.ended:
            writing.ended, writing.not_before = True, 0.0
        return len(writing.parts)

    def again(self, number: int, part: int) -> None:
        """The server wants this part next. A Tick must follow."""
        writing = self._writings[number]
        if 0 < part <= len(writing.parts):
            writing.next = part

    def forget(self, number: int) -> None:
        self._writings.pop(number, None)

    def welcomed(self) -> None:
        """A session began: whether the last part arrived, only the server can tell."""
        for writing in self._writings.values():
            writing.next = min(writing.next, max(1, len(writing.parts)))
            writing.not_before = 0.0

    def refused(self, frame: pb.ServerFrame, now: float) -> bool:
        """The server refuses a part; False: the frame is about something else."""
        if frame.id < PART_IDS:
            return False
        writing = self._writings.get(frame.id - PART_IDS)
        if writing is None or not frame.HasField("error"):
            return True
        told = frame.error
        if told.next_part:
            self.again(frame.id - PART_IDS, told.next_part)
        elif told.retry_after_ms:
            writing.next = max(1, writing.next - 1)
            writing.not_before = now + told.retry_after_ms / 1000
        else:
            writing.error = error_of(told.code, told.message, 0)
        return True

    def next_wake(self) -> float | None:
        """When `flush` has something, while the session lives."""
        return min((writing.not_before for writing in self._writings.values() if writing.waits), default=None)

    def flush(self, now: float) -> Iterator[pb.ClientFrame]:
        """What goes out now. Only while the session is live."""
        for number, writing in self._writings.items():
            while writing.waits and writing.not_before <= now:
                if writing.next > len(writing.parts):
                    _cut(writing)
                yield _frame(number, writing)
                writing.next += 1
                if not writing.ended:
                    writing.not_before = now + PART_EVERY_S


def _cut(writing: _Writing) -> None:
    if writing.text:
        writing.parts.append(writing.text)
        writing.text = ""


def _frame(number: int, writing: _Writing) -> pb.ClientFrame:
    part = pb.StreamPart(
        conversation=writing.conversation, seq=writing.seq, part=writing.next, text=writing.parts[writing.next - 1]
    )
    return pb.ClientFrame(id=PART_IDS + number, stream_part=part)
