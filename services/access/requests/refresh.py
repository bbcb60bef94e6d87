"""A new token within a session: checked like that of a hello, and the session then lives as long as it.

Guarantees: every refresh ends in `ok` or an error; what is refused (a bad token, one of another user) or cannot be
checked now leaves the session as it was. How often a connection may ask is the session's rule.

Does not know: what a good token is, where keys come from.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from services.access.connection.connection import Connection
from services.access.requests.handshake import Authenticate
from services.common.auth.tokens import Claims
from services.common.clock import Clock
from services.common.lanes.lane import Lanes
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError, Unauthenticated
from tidings_protocol.ids import hash64
from tidings_protocol.wire.codec import PROTO

LANES: Final = 2
BATCH: Final = 64
OK: Final = PROTO.encode_server(client_pb2.ServerFrame(ok=client_pb2.Ok()))

Asked = tuple[Connection, str]


class Refreshing:
    """Serves all connections of a node while it is entered."""

    def __init__(self, authenticator: Authenticate, clock: Clock, *, capacity: int) -> None:
        self._authenticator = authenticator
        self._clock = clock
        self._lanes: Lanes[Asked, Claims] = Lanes(
            "refresh", self._check, lanes=LANES, capacity=capacity, batch_max=BATCH, overlap_min=BATCH
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        await self._stack.enter_async_context(self._lanes)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    def take(self, connection: Connection, frame: client_pb2.ClientFrame) -> None:
        """HandOn of a `refresh`."""
        request_id = frame.id

        def done(said: Claims | TidingsError) -> None:
            if isinstance(said, TidingsError):
                connection.refuse(request_id, "refresh", said)
                return
            now = self._clock.now_s()
            connection.refresh(now + said.ends_at - self._clock.wall_ms() / 1000)
            connection.reply(request_id, "refresh", OK)

        try:
            self._lanes.offer(hash64(connection.user), (connection, frame.refresh.token), done)
        except TidingsError as error:
            connection.refuse(request_id, "refresh", error)

    async def _check(self, asked: list[Asked]) -> list[Claims | TidingsError]:
        return [await self._check_one(connection.user, token) for connection, token in asked]

    async def _check_one(self, user: str, token: str) -> Claims | TidingsError:
        try:
            claims = await self._authenticator.authenticate(token)
        except TidingsError as error:
            return error
        if claims.user != user:
            return Unauthenticated("this token is of another user: a session keeps its user; connect again for another")
        return claims
