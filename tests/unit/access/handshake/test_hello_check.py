"""The check of a hello: who is let in, and with which reason the others are not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from services.access.connection.abuse_tracker import AbuseTracker
from services.access.handshake.hello_check import USER_TOO_OFTEN, Accepted, HelloCheck, shape_refusal
from services.access.session.events import EndRequested
from services.access.session.limits import LimitPolicy
from services.common.auth.claims import LEEWAY_S, Claims
from services.common.auth.tokens import TokenRefused
from services.common.clock import ManualClock
from tests.support.network.port import FakeNode
from tests.unit.access.fakes import Client
from tidings_protocol import client_pb2, close
from tidings_protocol.errors import TidingsError, Unavailable

Hello = client_pb2.Hello


class Authenticator:
    """The token is the user's name, and ends at 6,000 s. It knows "ann" again."""

    def known(self, token: str) -> Claims | None:
        return Claims(token, 6000.0) if token == "ann" else None

    async def authenticate(self, token: str) -> Claims:
        if token == "expired":
            raise TokenRefused(4506, "it has run out")
        if token == "away":
            raise Unavailable("the keys are not to be had")
        return Claims(token, 6000.0)


class Here:
    def __init__(self, policy: LimitPolicy | None = None, *refused_clients: str) -> None:
        self.clock = ManualClock(now_s=100.0, wall_ms=5_000_000)
        self.moved: dict[str, str] = {}
        self.avoided: list[frozenset[str]] = []
        self.check = HelloCheck(
            Authenticator(),
            AbuseTracker(policy or LimitPolicy()),
            self.clock,
            cast("Any", self),
            refused_clients=refused_clients,
        )

    def address_for(self, user: str, transport: str, avoid: frozenset[str]) -> str:
        """As the placement has it."""
        assert transport == "tcp"
        self.avoided.append(avoid)
        return self.moved.get(user, "")

    async def hello(self, token: str = "ann", **fields: Any) -> Accepted | EndRequested | TidingsError:
        hello = Hello(token=token, **({"device": "d"} | fields))
        return await self.check.check(Client(FakeNode()).connection, hello)

    def known(self, token: str) -> Accepted | EndRequested | None:
        return self.check.check_known(Client(FakeNode()).connection, Hello(token=token, device="d"))


async def test_a_good_hello_names_its_user_and_when_its_token_ends_by_this_nodes_clock() -> None:
    assert await Here().hello() == Accepted("ann", 1100.0 + LEEWAY_S)


async def test_a_token_that_is_refused_ends_with_its_own_reason_and_one_that_cannot_be_checked_is_an_error() -> None:
    assert await Here().hello("expired") == EndRequested(close.TOKEN_EXPIRED, "it has run out")
    assert isinstance(await Here().hello("away"), Unavailable)


async def test_a_client_that_is_not_served_is_refused_by_its_pattern() -> None:
    here = Here(None, "web 0.*")
    assert await here.hello(client="web 0.9") == EndRequested(close.CLIENT_REFUSED)
    assert isinstance(await here.hello(client="web 1.0"), Accepted)


async def test_a_device_that_connects_too_often_is_banned_for_a_while_and_the_users_other_devices_are_not() -> None:
    here = Here(LimitPolicy(reconnects_per_window=2, reconnect_window_s=60, ban_s=30))
    assert [isinstance(await here.hello(), Accepted) for _ in range(3)] == [True, True, False]
    here.clock.advance(10)
    banned = await here.hello()
    assert isinstance(banned, EndRequested)
    assert (banned.reason, banned.retry_after_ms) == (close.ABUSE, 20_000)
    assert isinstance(await here.hello(device="another"), Accepted)


async def test_a_user_who_connects_too_often_with_ever_new_devices_is_turned_away() -> None:
    here = Here(LimitPolicy(reconnects_per_window=1, user_reconnect_factor=3, ban_s=30))
    outcomes = [await here.hello(device=f"d{number}") for number in range(4)]
    assert [isinstance(outcome, Accepted) for outcome in outcomes] == [True, True, True, False]
    assert outcomes[3] == EndRequested(close.ABUSE, USER_TOO_OFTEN, 30_000)
    assert "connect again after the time given" in USER_TOO_OFTEN


async def test_a_user_who_is_served_elsewhere_is_sent_there_unless_the_client_avoids_it() -> None:
    here = Here()
    here.moved["ann"] = "ws://access-1"
    assert await here.hello(avoid=["access-2"]) == EndRequested(close.MOVED, address="ws://access-1")
    assert here.avoided == [frozenset({"access-2"})]


@pytest.mark.parametrize(
    "fields",
    [
        {"device": "d" * 64, "client": "c" * 256, "avoid": ["a"] * 64},
        {"device": "d", "group_cursors": {f"g:{number}": 1 for number in range(1000)}},
    ],
)
def test_a_hello_may_be_as_large_as_the_limits_say(fields: dict[str, Any]) -> None:
    assert shape_refusal(Hello(**fields)) is None


@pytest.mark.parametrize("fields", [{}, {"device": "d" * 65}, {"device": "d", "client": "c" * 257}])
def test_a_hello_of_the_wrong_shape_is_told_what_may_be(fields: dict[str, Any]) -> None:
    refusal = shape_refusal(Hello(**fields))
    assert refusal is not None
    assert refusal.reason is close.BAD_FRAME
    assert "characters" in refusal.message


def test_a_hello_whose_token_is_known_is_checked_at_once_and_any_other_one_later() -> None:
    here = Here()
    assert isinstance(here.known("ann"), Accepted)
    assert here.known("bob") is None
