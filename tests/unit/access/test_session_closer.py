"""What follows when a session ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from protos.tidings.internal.v1 import logic_pb2
from services.access import session_closer as module
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.session_closer import SessionCloser
from tests.support.network.port import FakeNode
from tests.unit.access.fakes import Client, open_client
from tidings_protocol.errors import Internal, TidingsError, Unavailable


class Logic:
    """Answers with what it was given, then with success."""

    def __init__(self, *says: TidingsError) -> None:
        self.says = list(says)
        self.asked: list[list[str]] = []

    async def close(self, items: Sequence[logic_pb2.CloseItem]) -> Sequence[TidingsError | None]:
        self.asked.append([item.session for item in items])
        said = self.says.pop(0) if self.says else None
        return [said for _ in items]


class World:
    def __init__(self, *says: TidingsError) -> None:
        self.logic, self.hub = Logic(*says), Hub[Connection]()
        self.forgotten: list[Connection] = []
        self.left: list[str] = []
        watching = SimpleNamespace(forget=self.forgotten.append)
        visit_calls = SimpleNamespace(left=self.left.append)
        self.closer = SessionCloser(cast("Any", self.logic), self.hub, cast("Any", watching), cast("Any", visit_calls))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)


async def test_the_owner_of_a_user_hears_of_the_last_connection_and_of_no_other() -> None:
    world = World()
    one, two = open_client().connection, open_client().connection
    world.hub.add("ann", one)
    world.hub.add("ann", two)
    world.closer.unregister(one)
    assert (world.left, "ann" in world.hub) == ([], True)
    world.closer.unregister(two)
    assert (world.left, "ann" in world.hub) == (["ann"], False)
    assert world.forgotten == [one, two]


async def test_a_stranger_is_in_no_index() -> None:
    world = World()
    world.closer.unregister(Client(FakeNode()).connection)
    assert world.forgotten == []


async def test_logic_is_told_until_it_knows() -> None:
    world = World(Unavailable("away"), Unavailable("away"))
    async with world.closer as closer:
        closer.close_session(open_client(session="s1").connection)
        async with asyncio.timeout(5):
            while len(world.logic.asked) < 3:  # noqa: ASYNC110 - a plain value of the fake
                await asyncio.sleep(0)
    assert world.logic.asked == [["s1"]] * 3
    assert closer.lanes.depth == 0


async def test_what_logic_refuses_for_good_is_let_go() -> None:
    world = World(Internal("a defect"))
    async with world.closer as closer:
        closer.close(logic_pb2.CloseItem(user="ann", session="s1"))
    assert world.logic.asked == [["s1"]]


async def test_a_node_that_ends_asks_once_more_and_waits_for_nobody() -> None:
    world = World(*[Unavailable("away")] * 1000)
    async with asyncio.timeout(5):
        async with world.closer as closer:
            closer.close(logic_pb2.CloseItem(user="ann", session="s1"))
    assert 1 <= len(world.logic.asked) < 1000


async def test_what_it_tells_is_the_identity_of_the_session() -> None:
    items: list[logic_pb2.CloseItem] = []
    world = World()
    world.closer.close = items.append  # type: ignore[method-assign, assignment]
    world.closer.close_session(open_client("bob", device="laptop", session="s9").connection)
    assert [(item.user, item.device, item.session) for item in items] == [("bob", "laptop", "s9")]


async def test_one_that_logic_does_not_take_holds_up_no_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 1e6)
    world = World(Unavailable("away"))
    async with asyncio.timeout(5):
        async with world.closer as closer:
            closer.close(logic_pb2.CloseItem(user="ann", session="s1"))
            while not world.logic.asked:  # noqa: ASYNC110 - a plain value of the fake
                await asyncio.sleep(0)
            closer.close(logic_pb2.CloseItem(user="bob", session="s2"))
            while len(world.logic.asked) < 2:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0)
            assert world.logic.asked == [["s1"], ["s2"]]
    assert world.logic.asked == [["s1"], ["s2"], ["s1"]]
