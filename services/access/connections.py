"""The set of a node's connections: who is there, the wheel that wakes them, and what the metrics show of all.

Guarantees: the wheel wakes connections; nothing here waits for one. What gathered in a turn of the event loop is
written at its end. Leaving ends every connection, with a goodbye.

Does not know: transports, requests, the ring.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from functools import cache
from typing import Final

from services.access.connection.abuse_tracker import AbuseTracker
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.connection.traffic import Traffic
from services.access.session.events import EndRequested
from services.access.session.heartbeat import TimingWheel
from services.access.session.session import Phase
from services.common.clock import Clock
from services.common.scope import Owned, TaskScope
from services.common.telemetry import logs, metrics
from tidings_protocol import close

FLUSH_S: Final = 1.0
SAMPLE_EVERY: Final = 10  # flushes

# Looking a gauge up by its labels costs more than counting.
_open_connections = cache(metrics.CONNECTIONS.labels)

log = logs.get_logger(__name__)


class Connections(Owned, Collection[Connection]):
    """Wakes its connections while it is entered."""

    def __init__(self, hub: Hub[Connection], abuse: AbuseTracker, clock: Clock) -> None:
        self._hub = hub
        self._abuse = abuse
        self._clock = clock
        self.wheel: TimingWheel[Connection] = TimingWheel(clock.now_s())
        self._all: dict[Connection, None] = {}  # a set in the order of coming, so that a simulation repeats itself
        self._unflushed: list[Connection] = []
        self._accepting = False
        self._sessions = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._scope = TaskScope()

    async def _running(self) -> AsyncIterator[None]:
        async with self._scope:
            self._scope.spawn(self._turn(), name="wheel")
            try:
                yield
            finally:
                left = tuple(self._all)
                for connection in left:
                    connection.handle(EndRequested(close.DRAINING))
                await asyncio.sleep(0)
                for connection in left:
                    connection.transport.abort()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._all)

    def __contains__(self, connection: object) -> bool:
        return connection in self._all

    @property
    def sessions(self) -> int:
        """Connections that were welcomed and whose transport is not gone."""
        return self._sessions

    @property
    def handshakes(self) -> int:
        """Connections that were not welcomed."""
        return len(self._all) - self._sessions

    def idle_sessions(self) -> int:
        """Those whose user is away, or whose client only answers probes."""
        now = self._clock.now_s()
        return sum(connection.session.idle(now) for connection in self._all)

    # ---- new ones

    @property
    def accepting(self) -> bool:
        """Whether new connections are taken."""
        return self._accepting

    def accept(self) -> None:
        """New connections are taken from now on."""
        self._accepting = True

    def refuse(self) -> None:
        """New connections are taken no more; those that are there stay."""
        self._accepting = False

    async def wait_empty(self, timeout_s: float) -> bool:
        """Returns when the last connection is gone; False if the time was over before."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    # ---- what connections say

    def begin(self, connection: Connection) -> None:
        self._all[connection] = None
        self._empty.clear()

    def opened(self, connection: Connection) -> None:
        self._sessions += 1
        self._share_limits(connection.user)
        kind = connection.identity.kind_name
        _open_connections(connection.transport.name, kind).inc()
        log.info(
            "connection opened",
            user=connection.user,
            device=connection.identity.device,
            session=connection.session_id,
            transport=connection.transport.name,
            address=connection.transport.address,
            kind=kind,
            protocol=connection.identity.protocol,
        )

    def flush_later(self, connection: Connection) -> None:
        if not self._unflushed:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unflushed.append(connection)

    def lost(self, connection: Connection) -> None:
        self._all.pop(connection, None)
        if not self._all:
            self._empty.set()
        self.wheel.discard(connection)
        if connection.welcomed:
            _open_connections(connection.transport.name, connection.identity.kind_name).dec()
            self._sessions -= 1
            # Half of a login's lines, if clients that leave by themselves had one.
            say = log.info if connection.closed_with else log.debug
            say(
                "connection closed",
                user=connection.user,
                session=connection.session_id,
                code=connection.closed_with,
                open_s=round(self._clock.now_s() - connection.opened_at, 1),
            )

    # ---- inside

    def _share_limits(self, user: str) -> None:
        """From the second connection of a user on, they have windows in common."""
        connections = self._hub.connections_of(user)
        if len(connections) > 1:
            shared = self._abuse.traffic_of(user)
            for connection in connections:
                connection.session.share(shared)

    def _flush(self) -> None:
        connections, self._unflushed = self._unflushed, []
        for connection in connections:
            connection.flush()

    async def _turn(self) -> None:
        while True:
            await asyncio.sleep(self.wheel.tick_s)
            now = self._clock.now_s()
            for connection in self.wheel.advance(now):
                connection.tick(now)


class ConnectionMetrics:
    """What the metrics show of a node's connections: counts each second, a sample of all every ten.

    `handshakes` tells how many sockets and connections have no session.
    """

    def __init__(
        self,
        connections: Connections,
        hub: Hub[Connection],
        abuse: AbuseTracker,
        clock: Clock,
        traffic: Sequence[Traffic],
        handshakes: Callable[[], int],
    ) -> None:
        self._connections = connections
        self._hub = hub
        self._abuse = abuse
        self._clock = clock
        self._traffic = traffic
        self._handshakes = handshakes

    async def run(self) -> None:
        """Flushes what has gathered, for ever."""
        flushes = 0
        while True:
            await asyncio.sleep(FLUSH_S)
            self.flush()
            flushes += 1
            if flushes % SAMPLE_EVERY == 0:
                self.sample()

    def flush(self) -> None:
        """What is counted anyway."""
        for traffic in self._traffic:
            traffic.flush()
        metrics.HANDSHAKES.set(self._handshakes())
        metrics.USERS.set(len(self._hub))
        metrics.SESSIONS.set(self._connections.sessions)

    def sample(self) -> None:
        """What all connections are looked at for; expired bans and counts are forgotten on the way."""
        metrics.BANNED.set(self._abuse.sweep(self._clock.now_s()))
        counts, waiting = count_states(self._connections)
        for state, count in counts.items():
            metrics.CONNECTION_STATES.labels(state).set(count)
        metrics.SLOW_CONSUMERS.set(counts[PAUSED])
        metrics.OUTBOX_BYTES.set(waiting)
        metrics.SESSIONS_IDLE.set(self._connections.idle_sessions())


_PHASES: Final = {
    Phase.AWAITING_HELLO: "awaiting_hello",
    Phase.OPENING: "opening",
    Phase.OPEN: "live",
    Phase.CLOSING: "closing",
}
PAUSED: Final = "paused"
STATES: Final = (*_PHASES.values(), PAUSED)


def count_states(connections: Iterable[Connection]) -> tuple[dict[str, int], int]:
    """Connections by state, each in one, and the bytes that wait for those that do not read. A sample, so that no
    change of state pays for it."""
    counts, waiting = dict.fromkeys(STATES, 0), 0
    for connection in connections:
        phase, delivery = connection.session.phase, connection.delivery
        state = PAUSED if phase is Phase.OPEN and delivery.paused else _PHASES[phase]
        counts[state] += 1
        if delivery.blocked:
            waiting += connection.transport.waiting_bytes
    return counts, waiting
