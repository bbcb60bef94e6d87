"""The refresh of a session's token: the new token is checked like that of a hello, and the session lives as long as it.

Guarantees: every refresh ends in `ok` or an error. A refresh that is refused (a bad token, or one of another user), or
that cannot be checked now, leaves the session as it was. The session decides how often a connection may ask.

Does not know: what a good token is, where keys come from.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from services.access.connection.connection import Connection
from services.access.handshake.hello_check import Authenticate
from services.common.auth.claims import Claims
from services.common.clock import Clock
from services.common.lanes.entered import LaneHolder
from services.common.lanes.lane import Lanes
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError, Unauthenticated
from tidings_protocol.ids import hash64
from tidings_protocol.wire.codec import PROTO

LANES: Final = 2
BATCH: Final = 64
OK: Final = PROTO.encode_server(client_pb2.ServerFrame(ok=client_pb2.Ok()))

AskedRefresh = tuple[Connection, str]


class TokenRefresh(LaneHolder):
    """Serves all connections of a node while it is entered."""

    def __init__(self, authenticator: Authenticate, clock: Clock, *, capacity: int) -> None:
        self._authenticator = authenticator
        self._clock = clock
        self._lanes: Lanes[AskedRefresh, Claims] = Lanes(
            "refresh", self._check, lanes=LANES, capacity=capacity, batch_max=BATCH, overlap_min=BATCH
        )

    def _parts(self) -> Iterable[AbstractAsyncContextManager[Any]]:
        return (self._lanes,)

    def take(self, connection: Connection, frame: client_pb2.ClientFrame) -> None:
        """Checks the token of a `refresh` request, then answers it."""
        request_id = frame.id

        def done(outcome: Claims | TidingsError) -> None:
            if isinstance(outcome, TidingsError):
                connection.refuse(request_id, "refresh", outcome)
                return
            now = self._clock.now_s()
            connection.refresh(now + outcome.ends_at - self._clock.wall_ms() / 1000)
            connection.reply(request_id, "refresh", OK)

        try:
            self._lanes.offer(hash64(connection.user), (connection, frame.refresh.token), done)
        except TidingsError as error:
            connection.refuse(request_id, "refresh", error)

    async def _check(self, asked: list[AskedRefresh]) -> list[Claims | TidingsError]:
        return [await self._check_one(connection.user, token) for connection, token in asked]

    async def _check_one(self, user: str, token: str) -> Claims | TidingsError:
        try:
            claims = await self._authenticator.authenticate(token)
        except TidingsError as error:
            return error
        if claims.user != user:
            return Unauthenticated("this token is another user's: connect again to become that user")
        return claims
