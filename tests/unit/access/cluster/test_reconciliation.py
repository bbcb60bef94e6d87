"""What is stored and what is held are made equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from protos.tidings.internal.v1 import logic_pb2
from services.access.cluster import reconciliation as module
from services.access.cluster.reconciliation import Reconciling
from services.access.connection.connection import Connection
from services.access.session.session import Phase
from services.common.registry.contract import NodeIncarnation
from tests.unit.access.fakes import open_client
from tidings_protocol.errors import TidingsError


class Logic:
    """Has the sessions that are stored; `newer`: the session that took their place."""

    def __init__(self, *stored: str) -> None:
        self.stored = [logic_pb2.HeldSession(user=f"u-{each}", device="d", session=each) for each in stored]
        self.opened: list[logic_pb2.OpenItem] = []
        self.newer = ""
        self.pages = 0

    async def held(self, query: logic_pb2.HeldQuery) -> logic_pb2.HeldPage:
        self.pages += 1
        left = [each for each in self.stored if (each.user, each.device) > (query.after_user, query.after_device)]
        return logic_pb2.HeldPage(sessions=left[: query.limit], more=len(left) > query.limit)

    async def open(self, items: Sequence[logic_pb2.OpenItem]) -> Sequence[logic_pb2.OpenOutcome | TidingsError]:
        self.opened += items
        return [logic_pb2.OpenOutcome(newer=self.newer) for _ in items]


class Place:
    def __init__(self, logic: Logic, *connections: Connection) -> None:
        self.closed: list[logic_pb2.CloseItem] = []
        self.me = NodeIncarnation("access-0", "")
        self.reconciling = Reconciling(
            cast("Any", logic), connections, me=lambda: self.me, close=self.closed.append, interval_s=60
        )


async def test_a_session_without_a_connection_is_closed_and_one_with_a_connection_is_not() -> None:
    place = Place(Logic("ghost", "s1"), open_client(session="s1").connection)
    await place.reconciling.compare()
    assert [(item.user, item.session) for item in place.closed] == [("u-ghost", "ghost")]


async def test_stored_sessions_are_read_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    monkeypatch.setattr(module, "PAGE_PAUSE_S", 0.0)
    logic = Logic("1", "2", "3", "4", "5")
    place = Place(logic)
    await place.reconciling.compare()
    assert logic.pages == 3
    assert len(place.closed) == 5


async def test_a_session_whose_record_is_gone_is_stored_again_at_the_second_look() -> None:
    logic = Logic()
    place = Place(logic, open_client(session="s1").connection)
    await place.reconciling.compare()
    assert logic.opened == []
    await place.reconciling.compare()
    assert [(item.session, item.again) for item in logic.opened] == [("s1", True)]
    await place.reconciling.compare()
    assert len(logic.opened) == 1, "it begins anew"


async def test_a_session_that_a_newer_one_took_the_place_of_ends_after_two_looks_more() -> None:
    logic = Logic()
    logic.newer = "s2"
    client = open_client(session="s1")
    place = Place(logic, client.connection)
    for _ in range(3):
        await place.reconciling.compare()
    assert client.connection.session.phase is Phase.OPEN
    await place.reconciling.compare()
    assert client.goodbye is not None
    assert client.goodbye.code == 4501


async def test_what_was_read_for_a_boot_of_before_says_nothing() -> None:
    class Turned(Logic):
        async def held(self, query: logic_pb2.HeldQuery) -> logic_pb2.HeldPage:
            place.me = NodeIncarnation("access-0", "a new boot")
            return await super().held(query)

    place = Place(Turned("ghost"))
    await place.reconciling.compare()
    assert place.closed == []
