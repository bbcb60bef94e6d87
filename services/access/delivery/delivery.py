"""From pushes to connections: what one connection gets in a batch goes out in one frame, entries in inbox order.

A message is encoded once per codec however many get it (`EncodedBody`). Where it has no inbox number (large groups,
notices to all) the whole frame is the same for every connection of a codec and transport, and is built once.

Guarantees: a connection whose session is still being stored keeps its pushes until the welcome; one that is paused gets
none, and what it misses is noted. A frame holds about `FRAME_BYTES` of messages at most. The event loop gets its turn
after every `TURN` connections that are addressed, and every `TURN` that are written to. A push that cannot be read, or
has fewer numbers than recipients, is dropped and counted, and its neighbours go out; a defect with one connection ends
that one.

Does not know: Kafka, parcels, who owns whom.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from google.protobuf.message import DecodeError, Message

from protos.tidings.internal.v1 import delivery_pb2
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.connection.session import Phase
from services.access.connection.traffic import DELIVER, name_of
from services.access.delivery.mail_router import is_sound
from services.common.clock import Clock
from services.common.telemetry import logs, metrics, tracing
from tidings_protocol import client_pb2
from tidings_protocol.ids import BROADCAST
from tidings_protocol.wire.body import EncodedBody

FRAME_BYTES: Final = 128 * 1024
TURN: Final = 1000

Push = delivery_pb2.Push
Entry = tuple[int, EncodedBody]
_BODIES: Final[dict[int, type[Message]]] = {
    Push.MESSAGE: client_pb2.Message,
    Push.RECEIPT: client_pb2.Receipt,
    Push.SIGNAL: client_pb2.Signal,
    Push.GROUP_INFO: client_pb2.GroupInfo,
}

log = logs.get_logger(__name__)


class Delivery:
    """Serves all connections of a hub. `on_sessions` gets the changes of sessions that came by."""

    def __init__(
        self,
        hub: Hub[Connection],
        clock: Clock,
        on_sessions: Callable[[delivery_pb2.SessionChanges], None],
    ) -> None:
        self._hub = hub
        self._clock = clock
        self._on_sessions = on_sessions

    async def deliver(self, pushes: Iterable[delivery_pb2.Push]) -> None:
        """All of them, in their order."""
        batch, began_ns = _Batch(), time.time_ns()
        turn = TURN
        for push in pushes:
            try:
                await self._take(push, batch)
            except DecodeError as error:
                _drop(push.kind, error)
            if batch.addressed >= turn:
                turn = batch.addressed + TURN
                await asyncio.sleep(0)
        await self._write(batch)
        self._measure(batch.told, began_ns)

    async def _take(self, push: delivery_pb2.Push, batch: _Batch) -> None:
        """Raises DecodeError."""
        if not is_sound(push):
            raise DecodeError("it has fewer numbers than recipients")
        if push.kind == Push.SESSIONS:
            self._on_sessions(delivery_pb2.SessionChanges.FromString(push.body))
        elif push.kind == Push.MEMBERSHIP:
            self._move(delivery_pb2.LargeMembership.FromString(push.body), push.users)
        elif push.kind in _BODIES:
            body = EncodedBody(_BODIES[push.kind], push.body)
            batch.reached = False
            if push.users:
                self._address(push, body, batch)
            elif push.conversation:
                await self._address_readers(push, body, batch)
            if batch.reached and push.kind == Push.MESSAGE and push.accepted_ms:
                batch.told.append(push)

    def _address(self, push: delivery_pb2.Push, body: EncodedBody, batch: _Batch) -> None:
        hub, skipped, numbers = self._hub, push.except_session, push.numbers
        for place, user in enumerate(push.users):
            connections = hub.connections_of(user)
            if connections:
                number = numbers[place] if numbers else 0
                for connection in connections:
                    if connection.session_id != skipped:
                        batch.add(connection, number, body)

    async def _address_readers(self, push: delivery_pb2.Push, body: EncodedBody, batch: _Batch) -> None:
        # A list, since the hub changes while others have their turn. Who comes meanwhile reads a head that has this.
        readers = list(self._readers(push.conversation))
        for begin in range(0, len(readers), TURN):
            if begin:
                await asyncio.sleep(0)
            batch.add_readers(readers[begin : begin + TURN], push.except_session, body)

    def _readers(self, conversation: str) -> Iterator[Connection]:
        if conversation == BROADCAST:
            return self._hub.connections()
        connections_of = self._hub.connections_of
        return (each for user in self._hub.readers(conversation) for each in connections_of(user))

    def _move(self, membership: delivery_pb2.LargeMembership, users: Iterable[str]) -> None:
        for user in users:
            if membership.member:
                self._hub.join(membership.conversation, user)
            else:
                self._hub.leave(membership.conversation, user)
                for connection in self._hub.connections_of(user):
                    connection.note_left(membership.conversation)

    async def _write(self, batch: _Batch) -> None:
        now = self._clock.now_s()
        written = 0
        shared: dict[tuple[object, ...], bytes] = {}
        for turn, (connection, entries) in enumerate(batch.entries.items(), 1):
            try:
                written += batch.push_entries(connection, entries, shared, now)
            except Exception:  # the edge: a defect ends this connection, not its node
                log.exception("connection failed", user=connection.user, session=connection.session_id)
                connection.transport.abort()
            if turn % TURN == 0:
                await asyncio.sleep(0)
        for turn, (connection, body) in enumerate(batch.others, 1):
            try:
                batch.push_other(connection, body, shared, now)
            except Exception:  # the edge: a defect ends this connection, not its node
                log.exception("connection failed", user=connection.user, session=connection.session_id)
                connection.transport.abort()
            if turn % TURN == 0:
                await asyncio.sleep(0)
        if written:
            metrics.DELIVERED.inc(written)

    def _measure(self, told: Iterable[delivery_pb2.Push], began_ns: int) -> None:
        """Once for each message that somebody here got, when all of the batch is written."""
        now_ms = self._clock.wall_ms()
        for push in told:
            exemplar = None
            if push.trace:
                exemplar = tracing.exemplar(push.trace)
                tracing.record("deliver", push.trace, began_ns)
            metrics.DELIVERY_SECONDS.observe(max(0.0, (now_ms - push.accepted_ms) / 1000), exemplar)


class _Batch:
    """What each connection gets."""

    __slots__ = ("_unreadable", "addressed", "entries", "others", "reached", "told")

    def __init__(self) -> None:
        self.entries: dict[Connection, list[Entry]] = {}
        self.others: list[tuple[Connection, EncodedBody]] = []
        self.addressed = 0  # entries and others that were added so far
        self.reached = False  # somebody, with the present push
        self.told: list[delivery_pb2.Push] = []  # messages that reached somebody
        self._unreadable: dict[int, EncodedBody] = {}  # by their ids, which are theirs while they are kept here

    def add(self, connection: Connection, number: int, body: EncodedBody) -> None:
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
        """The same as `add` without a number for each of them but the session `skipped`, at a third of its cost."""
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
        """How many were written."""
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
                # Only now is each of them looked at: nobody pays for it as long as all can be read.
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
        key = (connection.codec, connection.transport.traffic, id(body))
        data = shared.get(key)
        if data is None:
            if id(body) in self._unreadable:
                return
            try:
                data = shared[key] = connection.transport.wrap(connection.codec.push(body))
            except DecodeError as error:
                self._unreadable[id(body)] = body
                _drop(body.kind.DESCRIPTOR.name, error)
                return
        connection.push(data, 0, now, name_of(body))

    def _is_readable(self, body: EncodedBody) -> bool:
        if id(body) in self._unreadable:
            return False
        try:
            return bool(body.json)
        except DecodeError as error:
            self._unreadable[id(body)] = body
            _drop(body.kind.DESCRIPTOR.name, error)
            return False


def _drop(kind: object, error: DecodeError) -> None:
    metrics.PUSHES_UNREADABLE.inc()
    log.error("push dropped: it cannot be read", kind=kind, reason=str(error)[:200])


def _wrapped(connection: Connection, entries: list[Entry], shared: dict[tuple[object, ...], bytes]) -> bytes:
    if entries[-1][0]:
        return connection.transport.wrap(connection.codec.deliver(entries))
    # Sorted by number: if the last has none, none has. The bodies live as long as the batch, so their ids are theirs.
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
