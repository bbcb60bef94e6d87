"""A batch of pushes, by connection: what one connection gets goes out in one frame, entries in inbox order.

Guarantees: a connection whose session is still being stored keeps its entries until the welcome. A connection that is
paused gets none, and what it misses is noted. A frame holds at most about `FRAME_BYTES` of messages. A body that cannot
be read is dropped and counted once, however many connections get it.

Does not know: the hub, users, when other tasks run.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from google.protobuf.message import DecodeError

from services.access.connection.connection import Connection
from services.access.connection.traffic import DELIVER, label_of
from services.access.session.session import Phase
from services.common.telemetry import logs, metrics
from tidings_protocol import client_pb2
from tidings_protocol.wire.body import EncodedBody

FRAME_BYTES: Final = 128 * 1024
# So many connections are addressed, or written to, before other tasks have their turn.
YIELD_EVERY: Final = 1000

Entry = tuple[int, EncodedBody]  # inbox number (0: none), body

log = logs.get_logger(__name__)


# A message that reached a connection: when an access node accepted it, and its trace, empty if it is not sampled.
Measured = tuple[int, str]


class PushBatch:
    """The entries that each connection gets, gathered first and then pushed to it."""

    __slots__ = ("_unreadable", "addressed", "entries", "measured", "others", "reached", "rest_at")

    def __init__(self) -> None:
        self.entries: dict[Connection, list[Entry]] = {}
        self.others: list[tuple[Connection, EncodedBody]] = []
        self.addressed = 0  # entries and others that were added so far
        self.rest_at = YIELD_EVERY  # `addressed` when other tasks have their next turn
        self.reached = False  # whether the present push was added for a connection
        self.measured: list[Measured] = []
        self._unreadable: dict[int, EncodedBody] = {}  # by their ids, which are theirs while they are kept here

    def add(self, connection: Connection, number: int, body: EncodedBody) -> None:
        """Adds one entry, or keeps it with the connection until the welcome; none for a connection that is closing."""
        phase = connection.session.phase
        self.reached = True
        self.addressed += 1
        if phase is Phase.OPENING:
            if self._is_readable(body):
                connection.keep_early(number, body)
        elif phase is not Phase.OPEN:
            return
        elif body.kind is client_pb2.Message:
            entries = self.entries.get(connection)
            if entries is None:
                self.entries[connection] = [(number, body)]
            else:
                entries.append((number, body))
        else:
            self.others.append((connection, body))

    def add_readers(self, connections: Iterable[Connection], skipped: str, body: EncodedBody) -> None:
        """Adds the body, without a number, for each connection but the session `skipped`.

        It does what `add` does, at a third of its cost.
        """
        if body.kind is not client_pb2.Message:
            for connection in connections:
                if connection.session_id != skipped:
                    self.add(connection, 0, body)
            return
        entries, entry, opened = self.entries, (0, body), Phase.OPEN
        for connection in connections:
            if connection.session_id == skipped:
                continue
            if connection.session.phase is not opened:
                self.add(connection, 0, body)
                continue
            self.reached = True
            self.addressed += 1
            known = entries.get(connection)
            if known is None:
                entries[connection] = [entry]
            else:
                known.append(entry)

    def push_entries(
        self, connection: Connection, entries: list[Entry], shared: dict[tuple[object, ...], bytes], now: float
    ) -> int:
        """Pushes its entries to the connection, in inbox order; how many were written."""
        written = 0
        if len(entries) > 1:
            entries.sort(key=_number_of)
        for part in _parts(entries):
            number = part[-1][0]
            if connection.delivery.paused:
                connection.delivery.push(number, now)
                continue
            try:
                data = _wrapped(connection, part, shared)
            except DecodeError:
                # Only now is each entry looked at, so that it costs nothing as long as all can be read.
                part = [entry for entry in part if self._is_readable(entry[1])]
                if not part:
                    continue
                number, data = part[-1][0], _wrapped(connection, part, shared)
            if connection.push(data, number, now, DELIVER):
                written += len(part)
        return written

    def push_other(
        self, connection: Connection, body: EncodedBody, shared: dict[tuple[object, ...], bytes], now: float
    ) -> None:
        """Pushes to the connection what is no message."""
        key = (connection.codec, connection.transport.traffic, id(body))
        data = shared.get(key)
        if data is None:
            if id(body) in self._unreadable:
                return
            try:
                data = shared[key] = connection.transport.wrap(connection.codec.push(body))
            except DecodeError as error:
                self._unreadable[id(body)] = body
                drop(body.kind.DESCRIPTOR.name, error)
                return
        connection.push(data, 0, now, label_of(body))

    def _is_readable(self, body: EncodedBody) -> bool:
        if id(body) in self._unreadable:
            return False
        try:
            return bool(body.json)
        except DecodeError as error:
            self._unreadable[id(body)] = body
            drop(body.kind.DESCRIPTOR.name, error)
            return False


def drop(kind: object, error: DecodeError) -> None:
    """Counts a push that cannot be read, and says so in the log."""
    metrics.PUSHES_UNREADABLE.inc()
    log.error("push dropped: it cannot be read", kind=kind, reason=str(error)[:200])


def _wrapped(connection: Connection, entries: list[Entry], shared: dict[tuple[object, ...], bytes]) -> bytes:
    if entries[-1][0]:
        return connection.transport.wrap(connection.codec.deliver(entries))
    # Entries are sorted by number: if the last has none, none has. An id is a body's own, since bodies live as long as
    # the batch.
    key = (connection.codec, connection.transport.traffic, *[id(body) for _, body in entries])
    data = shared.get(key)
    if data is None:
        data = shared[key] = connection.transport.wrap(connection.codec.deliver(entries))
    return data


def _parts(entries: list[Entry]) -> Iterable[list[Entry]]:
    if len(entries) == 1:
        return (entries,)
    parts: list[list[Entry]] = [[]]
    size = 0
    for entry in entries:
        size += entry[1].size
        if size > FRAME_BYTES and parts[-1]:
            parts.append([])
            size = entry[1].size
        parts[-1].append(entry)
    return parts


def _number_of(entry: Entry) -> int:
    return entry[0]
