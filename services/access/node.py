"""One access node's connections: what each asks of its node, and what the node does with all of them.

Guarantees: every session that was stored is closed with logic, also when logic is away for a while (the calls are
repeated until it answers or the process ends). The wheel wakes connections; nothing here waits for one.

Does not know: transports, what requests mean, the ring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import cache
from types import TracebackType
from typing import Final, Self

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.connection.events import Ended
from services.access.connection.heartbeat import TimingWheel
from services.access.connection.hub import Hub
from services.access.connection.limits import Admission, Conduct, Device
from services.access.connection.sample import sample
from services.access.connection.session import SessionPolicy
from services.access.connection.traffic import Traffic
from services.access.logic_client import Logic
from services.access.placement.registrar import Visiting
from services.access.presence.notifier import Watching
from services.access.requests.handshake import Opening
from services.access.requests.refresh import Refreshing
from services.access.requests.requests import Requests
from services.common.clock import Clock
from services.common.gatherer import RETRY_S
from services.common.lanes.lane import Lanes
from services.common.scope import TaskScope
from services.common.telemetry import logs, metrics
from tidings_protocol import client_pb2, close
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import hash64

CLOSE_LANES: Final = 2
CLOSE_BATCH: Final = 1000
CLOSE_CAPACITY: Final = 200_000
FLUSH_TICKS: Final = 4
SWEEP_TICKS: Final = 40
KINDS: Final[dict[int, str]] = {
    client_pb2.Hello.WEB: "web",
    client_pb2.Hello.MOBILE: "mobile",
    client_pb2.Hello.DESKTOP: "desktop",
    client_pb2.Hello.BOT: "bot",
}

# Looking a gauge up by its labels costs more than counting.
_open_connections = cache(metrics.CONNECTIONS.labels)

log = logs.get_logger(__name__)


class Node:
    """The NodePort of its connections. `attach` gives it the parts that need it themselves."""

    def __init__(
        self,
        policy: SessionPolicy,
        clock: Clock,
        hub: Hub[Connection],
        admission: Admission,
        conduct: Conduct,
        logic: Logic,
        *,
        connections_max: int,
    ) -> None:
        self.policy = policy
        self.hub = hub
        self.connections: set[Connection] = set()
        self._unflushed: list[Connection] = []
        self.traffic = (Traffic("ws"), Traffic("tcp"))
        self.wheel: TimingWheel[Connection] = TimingWheel(clock.now_s())
        self.accepting = False
        self._clock = clock
        self._admission = admission
        self._conduct = conduct
        self._logic = logic
        self._connections_max = connections_max
        metrics.CONNECTIONS_MAX.set(connections_max)
        self._opening: Opening | None = None
        self._requests: Requests | None = None
        self._refreshing: Refreshing | None = None
        self._watching: Watching | None = None
        self._visiting: Visiting | None = None
        self._ended = False
        self._sessions = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._closes: Lanes[logic_pb2.CloseItem, None] = Lanes(
            "close", self._close, lanes=CLOSE_LANES, capacity=CLOSE_CAPACITY, batch_max=CLOSE_BATCH
        )
        self._scope = TaskScope()
        self._stack = AsyncExitStack()

    def attach(
        self,
        *,
        opening: Opening,
        requests: Requests,
        refreshing: Refreshing,
        watching: Watching,
        visiting: Visiting,
    ) -> None:
        """Before the first connection."""
        self._opening, self._requests, self._watching, self._visiting = opening, requests, watching, visiting
        self._refreshing = refreshing

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        await self._stack.enter_async_context(self._scope)
        await self._stack.enter_async_context(self._closes)
        self._scope.spawn(self._turn(), name="wheel")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended = True
        left = tuple(self.connections)
        for connection in left:
            connection.handle(Ended(close.DRAINING))
        await asyncio.sleep(0)
        for connection in left:
            connection.transport.abort()
        await self._stack.__aexit__(kind, error, traceback)

    # ---- the door

    def ask(self) -> float:
        """Whether one more connection may come in: 0, or the seconds to wait."""
        if not self.accepting or len(self.connections) >= self._connections_max:
            metrics.CONNECTIONS_REFUSED.labels("full" if self.accepting else "draining").inc()
            return 1.0
        wait_s = self._admission.ask(self.now())
        if wait_s:
            metrics.CONNECTIONS_REFUSED.labels("rate").inc()
        return wait_s

    def greet(self, guest: object) -> bool:
        """A connection was accepted; False: too many have not said yet what they want."""
        if self._admission.greet(guest):
            return True
        metrics.CONNECTIONS_REFUSED.labels("handshakes").inc()
        return False

    def dismiss(self, guest: object) -> None:
        """It has asked to come in, or is gone."""
        self._admission.dismiss(guest)

    # ---- what connections ask

    def now(self) -> float:
        return self._clock.now_s()

    def begin(self, connection: Connection) -> None:
        self.connections.add(connection)
        self._empty.clear()
        self._admission.handshakes += 1

    def wake(self, connection: Connection, due: float) -> None:
        self.wheel.schedule(connection, due)

    def flush_later(self, connection: Connection) -> None:
        if not self._unflushed:
            asyncio.get_running_loop().call_soon(self._flush_connections)
        self._unflushed.append(connection)

    def check_hello(self, connection: Connection, hello: client_pb2.Hello) -> None:
        assert self._opening is not None
        self._opening.check(connection, hello)

    def store_session(self, connection: Connection) -> None:
        assert self._opening is not None
        self._opening.store(connection)

    def take(self, connection: Connection, frame: client_pb2.ClientFrame, body: str) -> None:
        assert self._requests is not None
        assert self._refreshing is not None
        if body == "refresh":
            self._refreshing.take(connection, frame)
        else:
            self._requests.take(connection, frame, body)

    def opened(self, connection: Connection) -> None:
        self._admission.handshakes -= 1
        connection.counted = True
        self._sessions += 1
        self._share_limits(connection.user)
        _open_connections(connection.transport.name, _kind(connection)).inc()
        log.info(
            "connection opened",
            user=connection.user,
            device=connection.device,
            session=connection.session_id,
            transport=connection.transport.name,
            address=connection.transport.address,
            kind=_kind(connection),
        )

    def unregister(self, connection: Connection) -> None:
        assert self._watching is not None
        assert self._visiting is not None
        if not connection.user:
            return  # its hello was still being checked
        self._watching.watches.forget(connection)
        if self.hub.remove(connection.user, connection):
            self._visiting.left(connection.user)

    def close_session(self, connection: Connection) -> None:
        self.close(
            logic_pb2.CloseItem(
                user=connection.user,
                device=connection.device,
                session=connection.session_id,
                boot_id=connection.boot_id,
            )
        )

    def close(self, item: logic_pb2.CloseItem) -> None:
        """Ends a stored session, whoever held it."""
        try:
            self._closes.offer(hash64(item.user), item)
        except TidingsError as error:
            log.warning("a session could not be closed", session=item.session, error=str(error))

    def count_refused(self, connection: Connection) -> bool:
        return self._conduct.count_refused(connection.user, self.now())

    def ban(self, connection: Connection, kind: str) -> int:
        metrics.BANS.labels(kind).inc()
        log.warning("client banned", user=connection.user, device=connection.device, reason=kind)
        return round(1000 * self._conduct.ban(Device(connection.user, connection.device), self.now()))

    def count_goodbye(self, connection: Connection, code: int) -> None:
        metrics.GOODBYES.labels(str(code)).inc()
        connection.closed_with = code

    def lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()
        self.wheel.discard(connection)
        if connection.counted:
            _open_connections(connection.transport.name, _kind(connection)).dec()
            self._sessions -= 1
            log.info(
                "connection closed",
                user=connection.user,
                session=connection.session_id,
                code=connection.closed_with,
                open_s=round(self.now() - connection.opened_at, 1),
            )
        else:
            self._admission.handshakes -= 1

    async def wait_empty(self, timeout_s: float) -> bool:
        """Returns when the last connection is gone; False if the time was over before."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    @property
    def sessions(self) -> int:
        """That were welcomed and whose transport is not gone."""
        return self._sessions

    def idle_sessions(self) -> int:
        """Whose user is away, or whose client only answers probes."""
        now = self.now()
        return sum(connection.session.idle(now) for connection in self.connections)

    @property
    def closes(self) -> Lanes[logic_pb2.CloseItem, None]:
        """For /debug/state."""
        return self._closes

    # ---- inside

    def _share_limits(self, user: str) -> None:
        """From the second connection of a user on, they have windows in common."""
        connections = self.hub.of(user)
        if len(connections) > 1:
            shared = self._conduct.traffic_of(user)
            for connection in connections:
                if connection.session.limits is not None:
                    connection.session.limits.shared = shared

    def _flush_connections(self) -> None:
        connections, self._unflushed = self._unflushed, []
        for connection in connections:
            connection.flush()

    async def _turn(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(self.wheel.tick_s)
            now = self.now()
            for connection in self.wheel.advance(now):
                connection.tick(now)
            ticks += 1
            if ticks % FLUSH_TICKS == 0:
                self._flush()
            if ticks % SWEEP_TICKS == 0:
                self._sweep()

    def _flush(self) -> None:
        for traffic in self.traffic:
            traffic.flush()
        metrics.HANDSHAKES.set(self._admission.under_way)
        metrics.USERS.set(len(self.hub))
        metrics.SESSIONS.set(self._sessions)

    def _sweep(self) -> None:
        metrics.BANNED.set(self._conduct.sweep(self.now()))
        counts, waiting = sample(self.connections)
        for state, count in counts.items():
            metrics.CONNECTION_STATES.labels(state).set(count)
        metrics.SLOW_CONSUMERS.set(counts["paused"])
        metrics.OUTBOX_BYTES.set(waiting)
        metrics.SESSIONS_IDLE.set(self.idle_sessions())

    async def _close(self, items: list[logic_pb2.CloseItem]) -> Sequence[TidingsError | None]:
        """Until logic has taken each: one that is not closed looks online until it is found (reconciliation.py)."""
        waiting = items
        while True:
            outcomes = await self._logic.close(waiting)
            waiting = [
                item
                for item, outcome in zip(waiting, outcomes, strict=True)
                if isinstance(outcome, TidingsError) and outcome.retryable
            ]
            if not waiting or self._ended:
                return [None] * len(items)
            await asyncio.sleep(RETRY_S)


def _kind(connection: Connection) -> str:
    return KINDS.get(connection.kind, "web")
