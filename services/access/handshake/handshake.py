"""The handshake, from hello to welcome: the hello is checked, then the session is stored.

Theory of operation. There are two sets of lanes. In the first, hellos are checked (hello_check.py), but for those whose
token was verified before: they are checked at once. In the second, by user, sessions are stored. First the owners of
visitors confirm that they forward, so that no push falls between the inbox head that the welcome shows and the first
push. Then logic stores the sessions in one batch.

Guarantees: every hello ends in a welcome or a goodbye that says why, also when logic is away. A connection is in the
node's index before logic is asked, so a push or an eviction that is quicker than the answer finds it. No call is made,
or made again, for a connection that is gone. A session is stored under the boot id under which its connection was
taken, and welcomed only while that is this node's. Storage decides which of a device's logins is the newest. The
sessions that it replaced end when it is welcomed, and so do the connections of the device that this node was offered
before it; a connection whose session is still being stored is left to its own answer. A handshake that ends without a
welcome closes the session, because it may have been stored all the same.

Does not know: sockets, what logic does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.connection.identity import NOWHERE, Identity
from services.access.handshake.hello_check import Accepted, HelloCheck, shape_refusal
from services.access.handshake.replacement import SessionReplacement
from services.access.handshake.session_item import open_item
from services.access.logic_client import LogicClient
from services.access.placement.visit_calls import VisitCalls
from services.access.session.events import EndRequested
from services.access.session.session import Phase
from services.common.clock import Clock
from services.common.lanes.entered import LaneHolder
from services.common.lanes.lane import Lanes, unwanted
from services.common.registry.contract import NodeIncarnation
from services.common.rpc.faults import from_fault
from services.common.telemetry import metrics
from tidings_protocol import client_pb2, close
from tidings_protocol.errors import Forbidden, TidingsError
from tidings_protocol.ids import hash64, new_id

# A client of a boot that is gone comes back to the new one, not all of them at once.
RETURN_MIN_MS, RETURN_SPREAD_MS = 100, 1500
LANES = 4
CHECK_BATCH = 64


@dataclass(frozen=True, slots=True)
class HandshakeOptions:
    """What every welcome says, how many handshakes may wait in a lane, and how many are one batch for logic.

    `heartbeat_s` gives the interval for a kind of client.
    """

    heartbeat_s: Callable[[int], float]
    idle_heartbeat_s: float
    limits: client_pb2.Limits
    backoff: client_pb2.Backoff
    capacity: int
    batch_max: int


Outcome = TypeVar("Outcome")


class Handshake(LaneHolder):
    """Makes the handshakes of all connections of a node while it is entered; `me` is the node's boot now."""

    def __init__(
        self,
        hellos: HelloCheck,
        logic: LogicClient,
        visit_calls: VisitCalls,
        replacement: SessionReplacement,
        hub: Hub[Connection],
        clock: Clock,
        options: HandshakeOptions,
        *,
        me: Callable[[], NodeIncarnation],
    ) -> None:
        self._hello_check = hellos
        self._logic = logic
        self._visit_calls = visit_calls
        self._replacement = replacement
        self._hub = hub
        self._clock = clock
        self._options = options
        self._me = me
        capacity, batch_max = options.capacity, options.batch_max
        self._hellos: Lanes[Connection, Accepted | EndRequested] = Lanes(
            "hello", self._check_batch, lanes=LANES, capacity=capacity, batch_max=CHECK_BATCH, overlap_min=CHECK_BATCH
        )
        self._stores: Lanes[Connection, logic_pb2.OpenOutcome] = Lanes(
            "open",
            self._store_batch,
            lanes=LANES,
            capacity=capacity,
            batch_max=batch_max,
            overlap_min=batch_max,
            wanted=_is_opening,
        )
        self._asked: set[Connection] = set()  # whose session may have been stored

    def _parts(self) -> Iterable[AbstractAsyncContextManager[Any]]:
        return (self._stores, self._hellos)

    def authenticate(self, connection: Connection, hello: client_pb2.Hello) -> None:
        """Checks the hello; the connection then goes on to `store`, or ends with the reason against it."""
        refusal = shape_refusal(hello)
        if refusal is not None:
            connection.handle(refusal)
            return

        checked = self._hello_check.check_known(connection, hello)
        if checked is not None:
            self._on_authenticated(connection, checked)
            return

        def done(outcome: Accepted | EndRequested | TidingsError) -> None:
            self._on_authenticated(connection, outcome)

        self._offer(self._hellos, hash64(hello.device), connection, done)

    def store(self, connection: Connection) -> None:
        """Stores the session of a connection whose hello was accepted; the connection is then welcomed, or ends."""
        self._hub.add(connection.user, connection)

        def done(outcome: logic_pb2.OpenOutcome | TidingsError) -> None:
            self._on_stored(connection, outcome)

        self._offer(self._stores, hash64(connection.user), connection, done)

    def _offer(
        self,
        lanes: Lanes[Connection, Outcome],
        key: int,
        connection: Connection,
        done: Callable[[Outcome | TidingsError], None],
    ) -> None:
        try:
            lanes.offer(key, connection, done)
        except TidingsError as error:
            connection.handle(_refusal_of(error))

    # ---- the hello

    async def _check_batch(self, connections: list[Connection]) -> list[Accepted | EndRequested | TidingsError]:
        return [await self._check_one(connection) for connection in connections]

    async def _check_one(self, connection: Connection) -> Accepted | EndRequested | TidingsError:
        hello = connection.hello
        if hello is None or not _is_opening(connection):
            return EndRequested(close.INTERNAL)
        return await self._hello_check.check(connection, hello)

    def _on_authenticated(self, connection: Connection, outcome: Accepted | EndRequested | TidingsError) -> None:
        hello = connection.hello
        if hello is None or not _is_opening(connection):
            return
        match outcome:
            case Accepted(user, expires_at):
                connection.identify(self._identity(user, hello), expires_at)
            case EndRequested():
                metrics.CONNECTIONS_REFUSED.labels(outcome.reason.label).inc()
                connection.handle(outcome)
            case TidingsError():
                connection.handle(_refusal_of(outcome))

    def _identity(self, user: str, hello: client_pb2.Hello) -> Identity:
        return Identity(
            user,
            hello.device,
            new_id(),
            kind=hello.kind or client_pb2.Hello.WEB,
            boot_id=self._me().boot_id,
            since_ms=self._clock.wall_ms(),
            client=hello.client,
            attempt=hello.attempt,
            protocol=hello.protocol,
            avoid=frozenset(hello.avoid) if hello.avoid else NOWHERE,
        )

    # ---- the session

    async def _store_batch(self, connections: list[Connection]) -> Sequence[logic_pb2.OpenOutcome | TidingsError]:
        # A call that fails is made again later, and then the user's head is compared (rebalance.py).
        await self._visit_calls.ensure([connection.user for connection in connections])
        me = self._me()
        begun = {
            connection.session_id: connection
            for connection in connections
            if _is_opening(connection) and connection.identity.boot_id == me.boot_id
        }
        self._asked.update(begun.values())
        items = [open_item(connection, me.node) for connection in begun.values()]
        outcomes = iter(await self._logic.open(items, wanted=lambda item: _is_opening(begun[item.session])))
        return [next(outcomes) if connection.session_id in begun else unwanted() for connection in connections]

    def _on_stored(self, connection: Connection, outcome: logic_pb2.OpenOutcome | TidingsError) -> None:
        asked = connection in self._asked
        self._asked.discard(connection)
        refusal = self._refusal(connection, outcome)
        if refusal is None:
            assert not isinstance(outcome, TidingsError)
            self._welcome(connection, outcome)
            return
        if asked:
            connection.node.closer.close_session(connection)
        if _is_opening(connection):
            metrics.CONNECTIONS_REFUSED.labels(refusal.reason.label).inc()
            connection.handle(refusal)

    def _refusal(self, connection: Connection, outcome: logic_pb2.OpenOutcome | TidingsError) -> EndRequested | None:
        """The reason against a welcome; None if the session is welcome."""
        if connection.identity.boot_id != self._me().boot_id:
            retry_ms = RETURN_MIN_MS + random.randrange(RETURN_SPREAD_MS)
            return EndRequested(close.DRAINING, "this node has just come back: connect again", retry_ms)
        if isinstance(outcome, TidingsError):
            return _refusal_of(outcome)
        if outcome.HasField("fault"):
            return _refusal_of(from_fault(outcome.fault))
        if outcome.newer:
            number = f" (attempt {outcome.newer_attempt})" if outcome.newer_attempt else ""
            message = f"a newer login of this device is there{number}: use that one, or log in again"
            return EndRequested(close.REPLACED, message)
        return None

    def _welcome(self, connection: Connection, stored: logic_pb2.OpenOutcome) -> None:
        welcomed = _is_opening(connection)
        if welcomed:
            for group in stored.large_groups:
                if group not in connection.left_groups:
                    self._hub.join(group, connection.user)
            self._end_older(connection)
        if connection.hello is not None and not stored.reset:
            metrics.SYNC_BACKLOG.observe(max(0, stored.inbox_head - connection.hello.cursor))
        metrics.HANDSHAKE_SECONDS.observe(max(0.0, self._clock.now_s() - connection.opened_at))
        connection.open(
            client_pb2.ServerFrame(id=connection.hello_id, welcome=self._welcome_message(connection, stored)),
            [
                client_pb2.ServerFrame(group_info=client_pb2.GroupInfo(conversation=group))
                for group in stored.left_groups
            ],
            dict(stored.group_heads) or None,
        )
        if welcomed:
            self._replacement.end(connection.user, stored.replaced)

    def _end_older(self, connection: Connection) -> None:
        """Ends the connections of the device that this node was offered before: the hub has them in that order."""
        for other in self._hub.connections_of(connection.user):
            if other is connection:
                return
            if other.identity.device == connection.identity.device and other.session.phase is Phase.OPEN:
                other.handle(EndRequested(close.REPLACED))

    def _welcome_message(self, connection: Connection, stored: logic_pb2.OpenOutcome) -> client_pb2.Welcome:
        return client_pb2.Welcome(
            session=connection.session_id,
            user=connection.user,
            node=self._me().node,
            heartbeat_s=round(self._options.heartbeat_s(connection.identity.kind)),
            idle_heartbeat_s=round(self._options.idle_heartbeat_s),
            inbox_head=stored.inbox_head,
            epoch=stored.epoch,
            reset=stored.reset,
            time_ms=self._clock.wall_ms(),
            limits=self._options.limits,
            backoff=self._options.backoff,
            group_heads=stored.group_heads,
        )


def _is_opening(connection: Connection) -> bool:
    return connection.session.phase is Phase.OPENING


def _refusal_of(error: TidingsError) -> EndRequested:
    """The goodbye for an error: a refusal by logic, or a part of the cluster that is away."""
    reason = close.CLIENT_REFUSED if isinstance(error, Forbidden) else close.reason_before_welcome(error)
    return EndRequested(reason, error.message, error.retry_after_ms)
