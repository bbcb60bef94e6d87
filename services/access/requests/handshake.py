"""From hello to welcome: token, ban, version, placement; then the owner of a visitor, then logic.

Two sets of lanes. In the first, hellos are checked; in the second, by user, sessions are stored: first the owners of
visitors confirm that they forward (so nothing falls between the inbox head that the welcome shows and the first push),
then logic stores the sessions in one batch.

Guarantees: every hello ends in a welcome or a goodbye that says why, also when logic is away. A connection is in the
node's index before logic is asked, so a push or an eviction that is quicker than the answer finds it. Nothing is asked,
or asked again, for a connection that is gone. A session is stored under the boot id under which its connection was
taken, and welcomed only while that is this node's. Which of a device's logins is the newest, storage decides; whom it
replaced ends when it is welcomed, and so do the connections that this node was offered before it; one that is still
being stored is left to its own answer. Whatever is no welcome closes the session, because it may have been stored all
the same.

Does not know: sockets, what logic does.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Protocol, Self, TypeVar

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.abuse import AbuseTracker, Device
from services.access.connection.connection import Connection
from services.access.connection.events import Ended
from services.access.connection.hub import Hub
from services.access.connection.identity import NOWHERE, Identity
from services.access.connection.session import Phase
from services.access.logic_client import Logic
from services.access.placement.placement import Placement
from services.access.placement.registrar import Visiting
from services.access.placement.registrations import Host
from services.access.requests.replacement import Replacing
from services.common.auth.tokens import Claims, TokenRefused
from services.common.clock import Clock
from services.common.lanes.lane import Lanes, unwanted
from services.common.rpc.faults import from_fault
from services.common.telemetry import logs, metrics
from tidings_protocol import client_pb2, close
from tidings_protocol.errors import Forbidden, TidingsError
from tidings_protocol.ids import hash64, new_id

DEVICE_CHARACTERS_MAX = 64
CLIENT_CHARACTERS_MAX = 256
AVOID_MAX = 64
# Large groups of one user whose cursors a device may send along; it reads the others by their heads.
GROUP_CURSORS_MAX = 1000
# A client of a boot that is gone comes back to the new one, not all of them at once.
RETURN_MIN_MS, RETURN_SPREAD_MS = 100, 1500
LANES = 4
CHECK_BATCH = 64

log = logs.get_logger(__name__)


class Authenticate(Protocol):
    """services.common.auth.token_source.Authenticator."""

    def authenticate(self, token: str) -> Awaitable[Claims]: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """What every welcome says, and who is not let in."""

    heartbeat_s: Callable[[int], float]
    idle_heartbeat_s: float
    limits: client_pb2.Limits
    backoff: client_pb2.Backoff
    refused_clients: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True)
class Accepted:
    """A hello that is right."""

    user: str
    expires_at: float


Outcome = TypeVar("Outcome")


class Opening:
    """Serves all connections of a node while it is entered."""

    def __init__(
        self,
        authenticator: Authenticate,
        logic: Logic,
        visiting: Visiting,
        replacing: Replacing,
        placement: Placement,
        hub: Hub[Connection],
        abuse: AbuseTracker,
        clock: Clock,
        terms: Terms,
        *,
        me: Callable[[], Host],
        capacity: int,
        batch_max: int,
    ) -> None:
        self._authenticator = authenticator
        self._logic = logic
        self._visiting = visiting
        self._replacing = replacing
        self._placement = placement
        self._hub = hub
        self._abuse = abuse
        self._clock = clock
        self._terms = terms
        self._me = me
        self._hellos: Lanes[Connection, Accepted | Ended] = Lanes(
            "hello", self._check, lanes=LANES, capacity=capacity, batch_max=CHECK_BATCH, overlap_min=CHECK_BATCH
        )
        self._stores: Lanes[Connection, logic_pb2.OpenOutcome] = Lanes(
            "open",
            self._store,
            lanes=LANES,
            capacity=capacity,
            batch_max=batch_max,
            overlap_min=batch_max,
            wanted=_is_opening,
        )
        self._asked: set[Connection] = set()  # whose session may have been stored
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        await self._stack.enter_async_context(self._stores)
        await self._stack.enter_async_context(self._hellos)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    def check(self, connection: Connection, hello: client_pb2.Hello) -> None:
        """CheckHello."""
        if not 1 <= len(hello.device) <= DEVICE_CHARACTERS_MAX:
            message = f"`device` must have 1 to {DEVICE_CHARACTERS_MAX} characters, kept by the device"
            connection.handle(Ended(close.BAD_FRAME, message))
        elif len(hello.client) > CLIENT_CHARACTERS_MAX or len(hello.avoid) > AVOID_MAX:
            message = f"`client` may have {CLIENT_CHARACTERS_MAX} characters, `avoid` {AVOID_MAX} names"
            connection.handle(Ended(close.BAD_FRAME, message))
        elif len(hello.group_cursors) > GROUP_CURSORS_MAX:
            message = f"`group_cursors` may have {GROUP_CURSORS_MAX} groups: leave out those without news for longest"
            connection.handle(Ended(close.BAD_FRAME, message))
        else:
            self._offer(self._hellos, hash64(hello.device), connection, lambda said: self._checked(connection, said))

    def store(self, connection: Connection) -> None:
        """StoreSession."""
        self._hub.add(connection.user, connection)
        self._offer(self._stores, hash64(connection.user), connection, lambda said: self._stored(connection, said))

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
            connection.handle(_ended(error))

    # ---- the hello

    async def _check(self, connections: list[Connection]) -> list[Accepted | Ended | TidingsError]:
        return [await self._check_one(connection) for connection in connections]

    async def _check_one(self, connection: Connection) -> Accepted | Ended | TidingsError:
        hello = connection.hello
        if hello is None or connection.session.phase is not Phase.OPENING:
            return Ended(close.INTERNAL)
        try:
            claims = await self._authenticator.authenticate(hello.token)
        except TokenRefused as error:
            return Ended(close.reason_of(error.close_code), error.reason)
        except TidingsError as error:
            return error
        if any(fnmatchcase(hello.client, pattern) for pattern in self._terms.refused_clients):
            return Ended(close.CLIENT_REFUSED)
        who, now = Device(claims.user, hello.device), self._clock.now_s()
        if self._abuse.count_user_hello(claims.user, now):
            metrics.BANS.labels("reconnects").inc()
            return Ended(close.ABUSE, "this user connected too often", _ms(self._abuse.ban_s))
        banned_s = self._abuse.banned_for(who, now)
        if not banned_s and self._abuse.count_hello(who, now):
            banned_s = self._abuse.ban(who, "reconnects", now)
        if banned_s:
            return Ended(close.ABUSE, "this device connected too often or misbehaved", _ms(banned_s))
        avoid = frozenset(hello.avoid) if hello.avoid else NOWHERE
        address = self._placement.address_for(claims.user, connection.transport.name, avoid)
        if address:
            return Ended(close.MOVED, address=address)
        return Accepted(claims.user, now + claims.ends_at - self._clock.wall_ms() / 1000)

    def _checked(self, connection: Connection, said: Accepted | Ended | TidingsError) -> None:
        hello = connection.hello
        if hello is None or connection.session.phase is not Phase.OPENING:
            return
        match said:
            case Accepted(user, expires_at):
                connection.identify(self._identity(user, hello), expires_at)
            case Ended():
                metrics.CONNECTIONS_REFUSED.labels(said.reason.label).inc()
                connection.handle(said)
            case TidingsError():
                connection.handle(_ended(said))

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
            avoid=frozenset(hello.avoid) if hello.avoid else NOWHERE,
        )

    # ---- the session

    async def _store(self, connections: list[Connection]) -> Sequence[logic_pb2.OpenOutcome | TidingsError]:
        # A call that fails is made again in the background, and then the user's head is compared (rebalance.py).
        await self._visiting.settle([connection.user for connection in connections])
        me = self._me()
        begun = {
            each.session_id: each for each in connections if _is_opening(each) and each.identity.boot_id == me.boot_id
        }
        self._asked.update(begun.values())
        items = [open_item(each, me.node) for each in begun.values()]
        outcomes = iter(await self._logic.open(items, wanted=lambda item: _is_opening(begun[item.session])))
        return [next(outcomes) if connection.session_id in begun else unwanted() for connection in connections]

    def _stored(self, connection: Connection, said: logic_pb2.OpenOutcome | TidingsError) -> None:
        asked = connection in self._asked
        self._asked.discard(connection)
        refusal = self._refusal(connection, said)
        if refusal is None:
            assert not isinstance(said, TidingsError)
            self._admit(connection, said)
            return
        if asked:
            connection.node.closer.close_session(connection)
        if _is_opening(connection):
            metrics.CONNECTIONS_REFUSED.labels(refusal.reason.label).inc()
            connection.handle(refusal)

    def _refusal(self, connection: Connection, said: logic_pb2.OpenOutcome | TidingsError) -> Ended | None:
        """None: it is welcome."""
        if connection.identity.boot_id != self._me().boot_id:
            retry_ms = RETURN_MIN_MS + random.randrange(RETURN_SPREAD_MS)
            return Ended(close.DRAINING, "this node has just come back: connect again", retry_ms)
        if isinstance(said, TidingsError):
            return _ended(said)
        if said.HasField("fault"):
            return _ended(from_fault(said.fault))
        if said.newer:
            number = f" (attempt {said.newer_attempt})" if said.newer_attempt else ""
            return Ended(close.REPLACED, f"a newer login of this device is there{number}")
        return None

    def _admit(self, connection: Connection, said: logic_pb2.OpenOutcome) -> None:
        welcomed = _is_opening(connection)
        if welcomed:
            for group in said.large_groups:
                if group not in connection.left_groups:
                    self._hub.join(group, connection.user)
            self._end_older(connection)
        if connection.hello is not None and not said.reset:
            metrics.SYNC_BACKLOG.observe(max(0, said.inbox_head - connection.hello.cursor))
        metrics.HANDSHAKE_SECONDS.observe(max(0.0, self._clock.now_s() - connection.opened_at))
        connection.open(
            client_pb2.ServerFrame(id=connection.hello_id, welcome=self._welcome(connection, said)),
            [client_pb2.ServerFrame(group_info=client_pb2.GroupInfo(conversation=group)) for group in said.left_groups],
            dict(said.group_heads) or None,
        )
        if welcomed:
            self._replacing.end(connection.user, said.replaced)

    def _end_older(self, connection: Connection) -> None:
        """Those of the device that this node was offered before: the hub has them in that order."""
        for other in self._hub.connections_of(connection.user):
            if other is connection:
                return
            if other.identity.device == connection.identity.device and other.session.phase is Phase.OPEN:
                other.handle(Ended(close.REPLACED))

    def _welcome(self, connection: Connection, said: logic_pb2.OpenOutcome) -> client_pb2.Welcome:
        return client_pb2.Welcome(
            session=connection.session_id,
            user=connection.user,
            node=self._me().node,
            heartbeat_s=round(self._terms.heartbeat_s(connection.identity.kind)),
            idle_heartbeat_s=round(self._terms.idle_heartbeat_s),
            inbox_head=said.inbox_head,
            epoch=said.epoch,
            reset=said.reset,
            time_ms=self._clock.wall_ms(),
            limits=self._terms.limits,
            backoff=self._terms.backoff,
            group_heads=said.group_heads,
        )


def open_item(connection: Connection, node: str, *, again: bool = False) -> logic_pb2.OpenItem:
    """The session of a connection, as logic gets it; `again`: it is open, and its record is gone."""
    identity = connection.identity
    item = logic_pb2.OpenItem(
        user=identity.user,
        device=identity.device,
        kind=identity.kind,
        session=identity.session_id,
        node=node,
        boot_id=identity.boot_id,
        client=identity.client,
        attempt=identity.attempt,
        address=connection.transport.address,
        since_ms=identity.since_ms,
        again=again,
    )
    hello = connection.hello
    if hello is not None:
        item.cursor, item.epoch = hello.cursor, hello.epoch
        item.group_cursors.update(hello.group_cursors)
    return item


def _is_opening(connection: Connection) -> bool:
    return connection.session.phase is Phase.OPENING


def _ended(error: TidingsError) -> Ended:
    """A refusal by logic, or because something is away."""
    reason = close.CLIENT_REFUSED if isinstance(error, Forbidden) else close.reason_before_welcome(error)
    return Ended(reason, error.message, error.retry_after_ms)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
