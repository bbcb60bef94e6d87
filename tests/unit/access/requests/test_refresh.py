"""A new token within a session: it is taken, or the session stays as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.access.requests.refresh import TokenRefresh
from services.common.auth.claims import Claims
from services.common.auth.tokens import TokenRefused
from services.common.clock import ManualClock
from tests.unit.access.fakes import Client, open_client
from tidings_protocol import client_pb2
from tidings_protocol.errors import Unavailable

# FakeNode's clock stands at 1000 s.
CLOCK = ManualClock(now_s=1000.0, wall_ms=5_000_000)


class Authenticator:
    """A token is a user and the second at which it ends."""

    def known(self, token: str) -> Claims | None:
        return None

    async def authenticate(self, token: str) -> Claims:
        if token == "away":
            raise Unavailable("the keys are not to be had")
        if token == "bad":
            raise TokenRefused(4500, "it is not signed")
        user, _, ends_at = token.partition(" ")
        return Claims(user, float(ends_at))


@asynccontextmanager
async def refresh() -> AsyncIterator[TokenRefresh]:
    async with TokenRefresh(Authenticator(), CLOCK, capacity=1) as refresh:
        yield refresh


def ask(refresh: TokenRefresh, client: Client, token: str) -> None:
    refresh.take(client.connection, client_pb2.ClientFrame(id=4, refresh=client_pb2.Refresh(token=token)))


async def answer_to(client: Client, token: str) -> client_pb2.ServerFrame:
    async with refresh() as room:
        ask(room, client, token)
        async with asyncio.timeout(30):
            while not client.answers:  # noqa: ASYNC110 - a plain value of the transport
                await asyncio.sleep(0)
    (answer,) = client.answers
    assert answer.id == 4
    return answer


def expiry(client: Client) -> client_pb2.Goodbye | None:
    """The goodbye of a session at 1,500 s, if its token has run out by then."""
    client.connection.node.now = lambda: 1500.0  # type: ignore[method-assign]
    client.connection.tick(1500.0)
    return client.goodbye


async def test_a_good_token_is_answered_and_the_session_lives_as_long_as_it() -> None:
    client = open_client("ann")
    answer = await answer_to(client, "ann 5400")
    assert answer.HasField("ok")
    goodbye = expiry(client)
    assert goodbye is not None
    assert goodbye.code == 4506


async def test_a_token_of_another_user_is_refused_with_what_to_do_and_the_session_stays() -> None:
    client = open_client("ann")
    answer = await answer_to(client, "bob 5400")
    assert answer.error.code == "UNAUTHENTICATED"
    assert "connect again" in answer.error.message
    goodbye = expiry(client)
    assert goodbye is None or goodbye.code != 4506


async def test_a_bad_token_and_one_that_cannot_be_checked_are_errors_of_the_request() -> None:
    assert (await answer_to(open_client("ann"), "bad")).error.code == "UNAUTHENTICATED"
    assert (await answer_to(open_client("ann"), "away")).error.code == "UNAVAILABLE"


async def test_one_more_than_may_wait_is_refused_at_once() -> None:
    clients = [open_client("ann") for _ in range(2)]
    async with refresh() as room:
        for client in clients:
            ask(room, client, "ann 6000")
        assert [frame.error.code for client in clients for frame in client.answers] == ["OVERLOADED"]
