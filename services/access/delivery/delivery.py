"""The delivery of pushes to the connections of this node, batch by batch.

A message is encoded once for each codec, however many connections get it (`EncodedBody`). Where it has no inbox number
(large groups, notices to all) the whole frame is the same for every connection of a codec and transport, and is built
once. What one connection gets, and how, is the matter of push_batch.py.

Guarantees: other tasks of the event loop run after every `YIELD_EVERY` connections that are addressed, and after every
`YIELD_EVERY` that are written to. A push that cannot be read, or has fewer numbers than recipients, is dropped and
counted, and its neighbours go out. A defect with one connection ends that connection alone.

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
from services.access.delivery.mail_router import is_sound
from services.access.delivery.push_batch import PushBatch, drop
from services.common.clock import Clock
from services.common.telemetry import logs, metrics, tracing
from tidings_protocol import client_pb2
from tidings_protocol.ids import BROADCAST
from tidings_protocol.wire.body import EncodedBody

YIELD_EVERY: Final = 1000

Push = delivery_pb2.Push
_BODIES: Final[dict[int, type[Message]]] = {
    Push.MESSAGE: client_pb2.Message,
    Push.RECEIPT: client_pb2.Receipt,
    Push.SIGNAL: client_pb2.Signal,
    Push.GROUP_INFO: client_pb2.GroupInfo,
}

log = logs.get_logger(__name__)


class Delivery:
    """Delivers to all connections of a hub; `on_sessions` gets the changes of sessions that are among the pushes."""

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
        """Delivers the pushes in their order; returns when they are written to the connections.

        A cancellation may leave some of them undelivered.
        """
        batch, began_ns = PushBatch(), time.time_ns()
        limit = YIELD_EVERY
        for push in pushes:
            try:
                await self._add(push, batch)
            except DecodeError as error:
                drop(push.kind, error)
            if batch.addressed >= limit:
                limit = batch.addressed + YIELD_EVERY
                await asyncio.sleep(0)
        await self._write(batch)
        self._measure(batch.measured, began_ns)

    async def _add(self, push: delivery_pb2.Push, batch: PushBatch) -> None:
        """Adds the push to the batch, or acts on it. Raises DecodeError."""
        if not is_sound(push):
            raise DecodeError("it has fewer numbers than recipients")
        if push.kind == Push.SESSIONS:
            self._on_sessions(delivery_pb2.SessionChanges.FromString(push.body))
        elif push.kind == Push.MEMBERSHIP:
            self._change_membership(delivery_pb2.LargeMembership.FromString(push.body), push.users)
        elif push.kind in _BODIES:
            body = EncodedBody(_BODIES[push.kind], push.body)
            batch.reached = False
            if push.users:
                self._address(push, body, batch)
            elif push.conversation:
                await self._address_readers(push, body, batch)
            if batch.reached and push.kind == Push.MESSAGE and push.accepted_ms:
                batch.measured.append(push)

    def _address(self, push: delivery_pb2.Push, body: EncodedBody, batch: PushBatch) -> None:
        hub, skipped, numbers = self._hub, push.except_session, push.numbers
        for place, user in enumerate(push.users):
            connections = hub.connections_of(user)
            if connections:
                number = numbers[place] if numbers else 0
                for connection in connections:
                    if connection.session_id != skipped:
                        batch.add(connection, number, body)

    async def _address_readers(self, push: delivery_pb2.Push, body: EncodedBody, batch: PushBatch) -> None:
        # A list, since the hub changes while other tasks run. Who comes meanwhile reads a head that has this push.
        readers = list(self._readers(push.conversation))
        for begin in range(0, len(readers), YIELD_EVERY):
            if begin:
                await asyncio.sleep(0)
            batch.add_readers(readers[begin : begin + YIELD_EVERY], push.except_session, body)

    def _readers(self, conversation: str) -> Iterator[Connection]:
        if conversation == BROADCAST:
            return self._hub.connections()
        connections_of = self._hub.connections_of
        return (connection for user in self._hub.readers(conversation) for connection in connections_of(user))

    def _change_membership(self, membership: delivery_pb2.LargeMembership, users: Iterable[str]) -> None:
        for user in users:
            if membership.member:
                self._hub.join(membership.conversation, user)
            else:
                self._hub.leave(membership.conversation, user)
                for connection in self._hub.connections_of(user):
                    connection.note_left(membership.conversation)

    async def _write(self, batch: PushBatch) -> None:
        now = self._clock.now_s()
        written = 0
        shared: dict[tuple[object, ...], bytes] = {}
        for count, (connection, entries) in enumerate(batch.entries.items(), 1):
            try:
                written += batch.push_entries(connection, entries, shared, now)
            except Exception as defect:  # noqa: BLE001 - the edge: a defect ends this connection, not its node
                connection.abort_after(defect)
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        for count, (connection, body) in enumerate(batch.others, 1):
            try:
                batch.push_other(connection, body, shared, now)
            except Exception as defect:  # noqa: BLE001 - the edge: a defect ends this connection, not its node
                connection.abort_after(defect)
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        if written:
            metrics.DELIVERED.inc(written)

    def _measure(self, messages: Iterable[delivery_pb2.Push], began_ns: int) -> None:
        """Measures each message that a connection got once, when all of the batch is written."""
        now_ms = self._clock.wall_ms()
        for push in messages:
            exemplar = None
            if push.trace:
                exemplar = tracing.exemplar(push.trace)
                tracing.record("deliver", push.trace, began_ns)
            metrics.DELIVERY_SECONDS.observe(max(0.0, (now_ms - push.accepted_ms) / 1000), exemplar)
