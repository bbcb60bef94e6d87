"""The delivery of pushes to the connections of this node, batch by batch.

A message is encoded once for each codec, however many connections get it (`EncodedBody`). Where it has no inbox number
(large groups, notices to all) the whole frame is the same for every connection of a codec and transport, and is built
once. What one connection gets, and how, is the matter of push_batch.py.

Guarantees: other tasks of the event loop run after every `YIELD_EVERY` connections that are addressed, and after every
`YIELD_EVERY` that are written to. A push that cannot be read, or has fewer numbers than recipients, is dropped and
counted, and its neighbours go out; so are columns that are not aligned, and a message in columns that cannot be read.
A message in columns is delivered as the same one in a push would be. A defect with one connection ends that connection
alone.

Does not know: Kafka, parcels, who owns whom.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import Final

from google.protobuf.message import DecodeError, Message

from protos.tidings.internal.v1 import delivery_pb2
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.delivery.mail_router import Local, is_sound
from services.access.delivery.message_columns import is_aligned, recipients, rows
from services.access.delivery.push_batch import YIELD_EVERY, Measured, PushBatch, drop
from services.common.clock import Clock
from services.common.telemetry import logs, metrics, tracing
from tidings_protocol import client_pb2
from tidings_protocol.ids import BROADCAST
from tidings_protocol.wire.body import EncodedBody

Push = delivery_pb2.Push
_BODIES: Final[dict[int, type[Message]]] = {
    Push.MESSAGE: client_pb2.Message,
    Push.RECEIPT: client_pb2.Receipt,
    Push.SIGNAL: client_pb2.Signal,
    Push.GROUP_INFO: client_pb2.GroupInfo,
    Push.HIDDEN: client_pb2.Hidden,
    Push.STREAM_PART: client_pb2.StreamPart,
    Push.PREFERENCES: client_pb2.ConversationPreferences,
}

log = logs.get_logger(__name__)


class Delivery:
    """Delivers to all connections of a hub.

    `on_sessions` gets the changes of sessions that are among the pushes, `on_profiles` profiles that were set, with the
    session that has set them, `on_blocks` who blocks whom.
    """

    def __init__(
        self,
        hub: Hub[Connection],
        clock: Clock,
        on_sessions: Callable[[delivery_pb2.SessionChanges], None],
        *,
        on_profiles: Callable[[client_pb2.ProfileList, str], None] = lambda *_: None,
        on_blocks: Callable[[delivery_pb2.BlockChange], None] = lambda _: None,
    ) -> None:
        self._hub = hub
        self._clock = clock
        self._on_sessions = on_sessions
        self._on_profiles = on_profiles
        self._on_blocks = on_blocks

    async def deliver(self, parts: Iterable[Local]) -> None:
        """Delivers the pushes and columns in their order; returns when they are written to the connections.

        A cancellation may leave some of them undelivered.
        """
        batch, began_ns = PushBatch(), time.time_ns()
        for part in parts:
            try:
                if isinstance(part, delivery_pb2.MessageColumns):
                    await self._add_messages(part, batch)
                else:
                    await self._add(part, batch)
            except DecodeError as error:
                drop(_name_of(part), error)
            if batch.addressed >= batch.rest_at:
                await _rest(batch)
        await self._write(batch)
        self._measure(batch.measured, began_ns)

    async def _add_messages(self, columns: delivery_pb2.MessageColumns, batch: PushBatch) -> None:
        """Adds all messages to the batch. Raises DecodeError if that cannot be."""
        if not is_aligned(columns):
            raise DecodeError("its columns are not aligned")
        everybody = recipients(columns)
        for body, count, skipped, accepted_ms, trace in rows(columns):
            batch.reached = False
            self._address(islice(everybody, count), skipped, EncodedBody(client_pb2.Message, body), batch)
            if batch.reached and accepted_ms:
                batch.measured.append((accepted_ms, trace))
            if batch.addressed >= batch.rest_at:
                await _rest(batch)

    async def _add(self, push: delivery_pb2.Push, batch: PushBatch) -> None:
        """Adds the push to the batch, or acts on it. Raises DecodeError."""
        if not is_sound(push):
            raise DecodeError("it has fewer numbers than recipients")
        if push.kind == Push.SESSIONS:
            self._on_sessions(delivery_pb2.SessionChanges.FromString(push.body))
        elif push.kind == Push.PROFILES:
            self._on_profiles(client_pb2.ProfileList.FromString(push.body), push.except_session)
        elif push.kind == Push.BLOCKS:
            self._on_blocks(delivery_pb2.BlockChange.FromString(push.body))
        elif push.kind == Push.MEMBERSHIP:
            membership = delivery_pb2.LargeMembership.FromString(push.body)
            # Of nobody in particular: the group is dissolved.
            everybody = () if membership.member else list(self._hub.readers(membership.conversation))
            self._change_membership(membership, push.users or everybody)
        elif push.kind in _BODIES:
            body = EncodedBody(_BODIES[push.kind], push.body)
            batch.reached = False
            if push.users:
                numbers = push.numbers or repeat(0)
                self._address(zip(push.users, numbers, strict=False), push.except_session, body, batch)
            elif push.conversation:
                await self._address_readers(push, body, batch)
            if batch.reached and push.kind == Push.MESSAGE and push.accepted_ms:
                batch.measured.append((push.accepted_ms, push.trace))

    def _address(
        self, recipients: Iterable[tuple[str, int]], skipped: str, body: EncodedBody, batch: PushBatch
    ) -> None:
        """Adds the body for the connections of these users, by their numbers, but for the session `skipped`."""
        connections_of = self._hub.connections_of
        for user, number in recipients:
            for connection in connections_of(user):
                if connection.session_id != skipped:
                    batch.add(connection, number, body)

    async def _address_readers(self, push: delivery_pb2.Push, body: EncodedBody, batch: PushBatch) -> None:
        # A list, since the hub changes while other tasks run. Who comes meanwhile reads a head that has this push.
        readers = list(self._readers(push.conversation))
        if push.stub_users:
            readers = self._add_stubs(push, readers, batch)
        for begin in range(0, len(readers), YIELD_EVERY):
            if begin:
                await asyncio.sleep(0)
            batch.add_readers(readers[begin : begin + YIELD_EVERY], push.except_session, body)

    def _add_stubs(self, push: delivery_pb2.Push, readers: Sequence[Connection], batch: PushBatch) -> list[Connection]:
        """Adds the place of the message alone for who has hidden what it is about. The other readers."""
        hidden = frozenset(push.stub_users)
        message = client_pb2.Message.FromString(push.body)
        stub = EncodedBody.of(client_pb2.Message(conversation=message.conversation, seq=message.seq))
        batch.add_readers([each for each in readers if each.user in hidden], push.except_session, stub)
        return [each for each in readers if each.user not in hidden]

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

    def _measure(self, messages: Iterable[Measured], began_ns: int) -> None:
        """Measures each message that a connection got once, when all of the batch is written."""
        now_ms = self._clock.wall_ms()
        untraced_s: list[float] = []
        for accepted_ms, trace in messages:
            seconds = max(0.0, (now_ms - accepted_ms) / 1000)
            if trace:
                tracing.record("deliver", trace, began_ns)
                metrics.DELIVERY_SECONDS.observe(seconds, tracing.exemplar(trace))
            else:
                untraced_s.append(seconds)
        if untraced_s:
            metrics.observe_many(metrics.DELIVERY_SECONDS, untraced_s)


async def _rest(batch: PushBatch) -> None:
    """Lets other tasks run, since enough connections have been addressed."""
    batch.rest_at = batch.addressed + YIELD_EVERY
    await asyncio.sleep(0)


def _name_of(part: Local) -> object:
    return "messages" if isinstance(part, delivery_pb2.MessageColumns) else part.kind
