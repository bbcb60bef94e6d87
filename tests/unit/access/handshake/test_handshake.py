"""From hello to welcome: what each hello ends in, and what the session's store is asked."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.abuse_tracker import AbuseTracker
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.handshake.handshake import Handshake, HandshakeOptions
from services.access.handshake.hello_check import HelloCheck
from services.access.session.limits import LimitPolicy
from services.access.session.session import Phase
from services.common.auth.claims import Claims
from services.common.clock import ManualClock
from services.common.registry.contract import NodeIncarnation
from services.common.rpc.contract import MESSAGE_BYTES_MAX
from services.common.rpc.faults import to_fault
from tests.support.network.port import FakeNode
from tests.unit.access.fakes import Client
from tests.unit.access.test_logic_client import logic
from tidings_protocol import client_pb2
from tidings_protocol.errors import Forbidden, TidingsError, Unavailable

KIB = 1024
ME = NodeIncarnation("access-0", "boot")
Outcome = logic_pb2.OpenOutcome
Hello = client_pb2.Hello


class Authenticator:
    """The token is the user's name; its issuer is away on command."""

    away = False
    seen: frozenset[str] = frozenset()

    def known(self, token: str) -> Claims | None:
        return Claims(token, 2_000_000_000_000) if token in self.seen else None

    async def authenticate(self, token: str) -> Claims:
        if self.away:
            raise Unavailable("the keys are not to be had")
        return Claims(token, 2_000_000_000_000)


class CannedLogic:
    """Opens sessions with the outcome that the test gives; holds calls up on command."""

    def __init__(self) -> None:
        self.items: list[logic_pb2.OpenItem] = []
        self.outcome: Outcome | TidingsError = Outcome(inbox_head=7, epoch="e")
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()

    async def open(
        self, items: Sequence[logic_pb2.OpenItem], wanted: Callable[[logic_pb2.OpenItem], bool] | None = None
    ) -> Sequence[Outcome | TidingsError]:
        self.items += items
        self.asked.set()
        await self.gate.wait()
        return [self.outcome for _ in items]


class VisitCalls:
    """Notes for whom the owners were asked; holds up the answers on command."""

    def __init__(self) -> None:
        self.users: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def ensure(self, users: Sequence[str]) -> set[str]:
        await self.gate.wait()
        self.users += users
        return set()


class Replacement:
    """Notes which sessions are to end."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []

    def end(self, user: str, places: Sequence[logic_pb2.SessionPlace]) -> None:
        self.ended += [(user, place.session) for place in places]


class Node(FakeNode):
    """Notes the sessions that are closed; its handshakes are what is tested."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: list[str] = []

    def close_session(self, connection: Connection) -> None:
        self.closed.append(connection.user)


class Here:
    """A node on which handshakes are made."""

    def __init__(self, logic: Any) -> None:
        self.node, self.logic, self.me = Node(), logic, ME
        self.hub: Hub[Connection] = Hub()
        self.visit_calls, self.replacement, self.authenticator = VisitCalls(), Replacement(), Authenticator()
        self.moved_to = ""
        clock = ManualClock(now_s=1000.0)
        placement = cast("Any", SimpleNamespace(address_for=lambda *_: self.moved_to))
        self.node.handshake = self.handshake = Handshake(
            HelloCheck(self.authenticator, AbuseTracker(LimitPolicy()), clock, placement),
            logic,
            cast("Any", self.visit_calls),
            cast("Any", self.replacement),
            self.hub,
            clock,
            HandshakeOptions(
                lambda _: 15, 120, client_pb2.Limits(), client_pb2.Backoff(), capacity=1000, batch_max=256
            ),
            me=lambda: self.me,
        )

    def hello(self, user: str = "ann", **fields: Any) -> Client:
        client = Client(self.node)
        client.say(id=3, hello=Hello(token=user, **({"device": "phone"} | fields)))
        return client


@asynccontextmanager
async def here() -> AsyncIterator[Here]:
    place = Here(CannedLogic())
    async with place.handshake:
        yield place


async def settled(client: Client) -> None:
    """The hello has ended in something."""
    async with asyncio.timeout(30):
        while client.connection.session.phase is Phase.OPENING:  # noqa: ASYNC110 - a plain value of the connection
            await asyncio.sleep(0)


async def test_a_hello_ends_in_a_welcome_with_what_logic_stored() -> None:
    async with here() as place:
        place.logic.outcome = Outcome(inbox_head=7, epoch="e", large_groups=["g:1"], left_groups=["g:2"])
        client = place.hello(client="web 1.0", attempt=9, cursor=5, protocol=11)
        await settled(client)
    welcome, left = client.answers
    assert (welcome.id, welcome.welcome.user, welcome.welcome.node) == (3, "ann", "access-0")
    assert (welcome.welcome.inbox_head, welcome.welcome.epoch, welcome.welcome.heartbeat_s) == (7, "e", 15)
    assert left.group_info.conversation == "g:2"
    assert list(place.hub.readers("g:1")) == ["ann"]
    assert place.visit_calls.users == ["ann"]
    (item,) = place.logic.items
    assert (item.user, item.device, item.node, item.boot_id) == ("ann", "phone", "access-0", "boot")
    assert item.session == welcome.welcome.session
    assert (item.client, item.attempt, item.cursor, item.again) == ("web 1.0", 9, 5, False)
    assert client.connection.identity.protocol == 11, "it is noted, and nothing else"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"device": ""}, "`device`"),
        ({"device": "d" * 65}, "`device`"),
        ({"client": "c" * 257}, "`client`"),
        ({"avoid": ["a"] * 65}, "`avoid`"),
        ({"group_cursors": {f"g:{number}": 1 for number in range(1001)}}, "`group_cursors`"),
    ],
)
async def test_a_hello_of_the_wrong_shape_is_told_what_to_change_and_no_token_is_checked(
    fields: dict[str, Any], said: str
) -> None:
    async with here() as place:
        place.authenticator.away = True
        client = place.hello(**fields)
        goodbye = client.goodbye
        assert goodbye is not None
        assert goodbye.code == 4503
        assert said in goodbye.message
        assert place.logic.items == []


async def test_a_hello_whose_token_is_known_waits_for_no_other_one() -> None:
    async with here() as place:
        place.authenticator.seen = frozenset(["ann"])
        ann, bob = place.hello(), place.hello("bob")
        assert ("ann" in place.hub, "bob" in place.hub) == (True, False)
        place.moved_to = "ws://access-1"
        again = place.hello()
        assert again.goodbye is not None
        assert again.goodbye.address == "ws://access-1"
        place.moved_to = ""
        for client in (ann, bob):
            await settled(client)
            assert client.answers[0].welcome.user


async def test_a_user_who_is_served_elsewhere_is_told_where() -> None:
    async with here() as place:
        place.moved_to = "ws://access-1"
        client = place.hello()
        await settled(client)
    goodbye = client.goodbye
    assert goodbye is not None
    assert (goodbye.code, goodbye.address) == (4001, "ws://access-1")
    assert (place.logic.items, place.node.closed) == ([], [])


async def test_a_token_that_cannot_be_checked_now_ends_in_a_goodbye_that_says_so() -> None:
    async with here() as place:
        place.authenticator.away = True
        client = place.hello()
        await settled(client)
    goodbye = client.goodbye
    assert goodbye is not None
    assert "keys" in goodbye.message


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Unavailable("logic is away"), 4003),
        (Outcome(fault=to_fault(Forbidden("not with this client"))), 4507),
        (Outcome(newer="s9", newer_attempt=4), 4501),
    ],
)
async def test_a_session_that_is_not_welcome_ends_with_its_reason_and_is_closed_with_logic(
    outcome: Outcome | TidingsError, code: int
) -> None:
    async with here() as place:
        place.logic.outcome = outcome
        client = place.hello()
        await settled(client)
    goodbye = client.goodbye
    assert goodbye is not None
    assert goodbye.code == code
    assert place.node.closed.count("ann") >= 1


async def test_a_session_that_was_stored_under_a_boot_of_before_is_sent_back() -> None:
    async with here() as place:
        place.logic.gate.clear()
        client = place.hello()
        await place.logic.asked.wait()
        place.me = NodeIncarnation("access-0", "a new boot")
        place.logic.gate.set()
        await settled(client)
    goodbye = client.goodbye
    assert goodbye is not None
    assert goodbye.code == 4000
    assert 100 <= goodbye.retry_after_ms < 1600
    assert "ann" in place.node.closed


async def test_a_welcome_ends_the_sessions_it_replaced_and_the_older_connections_of_the_device() -> None:
    async with here() as place:
        older, other = place.hello(), place.hello(device="laptop")
        await settled(older)
        await settled(other)
        place.logic.outcome = Outcome(replaced=[logic_pb2.SessionPlace(node="access-1", session="elsewhere")])
        newer = place.hello()
        await settled(newer)
        phases = [client.connection.session.phase for client in (older, other, newer)]
    assert phases == [Phase.CLOSING, Phase.OPEN, Phase.OPEN]
    assert older.goodbye is not None
    assert older.goodbye.code == 4501
    assert place.replacement.ended == [("ann", "elsewhere")]


async def test_nothing_is_asked_for_a_connection_that_has_gone_meanwhile() -> None:
    async with here() as place:
        client = place.hello()
        client.connection.lost()
        for _ in range(20):
            await asyncio.sleep(0)
    assert place.logic.items == []


async def test_one_users_large_hellos_do_not_make_others_logins_fail() -> None:
    cursors = {f"g:{number:0253}": 1 for number in range(1000)}
    large = [Hello(token=f"eve{number}", device="d", group_cursors=cursors) for number in range(125)]
    small = [Hello(token=f"u{number}", device="d") for number in range(125)]
    assert large[0].ByteSize() * 60 > MESSAGE_BYTES_MAX - KIB * KIB, "so many are in one batch"
    async with logic() as (asked, _):
        place = Here(asked)
        async with place.handshake:
            place.visit_calls.gate.clear()
            clients = [Client(place.node) for _ in (*large, *small)]
            for client, hello in zip(clients, (*large, *small), strict=True):
                client.say(hello=hello)
            async with asyncio.timeout(30):
                while len(place.hub) < len(clients):  # noqa: ASYNC110 - a plain value of the hub
                    await asyncio.sleep(0)
            place.visit_calls.gate.set()
            for client in clients:
                await settled(client)
    assert Counter(client.answers[0].WhichOneof("body") for client in clients) == {"welcome": 250}
