"""Watchers are shown changes of presence: at once, or when logic has answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from services.access.presence import notifier
from services.access.presence.notifier import USERS_MAX, PresenceNotifier
from services.common.clock import ManualClock
from tests.unit.access.fakes import Client, open_client
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TidingsError, Unavailable


class CannedLogic:
    """Knows who is online; is away on command."""

    def __init__(self) -> None:
        self.online = {"bob"}
        self.asked: list[list[str]] = []
        self.error: TidingsError | None = None
        self.frame: bytes | None = None

    async def handle(self, items: Sequence[logic_pb2.HandleItem]) -> Sequence[logic_pb2.HandleOutcome | TidingsError]:
        return [self._answer(list(client_pb2.ClientFrame.FromString(item.frame).presence.users)) for item in items]

    def _answer(self, users: list[str]) -> logic_pb2.HandleOutcome | TidingsError:
        self.asked.append(users)
        if self.error is not None:
            return self.error
        presences = [client_pb2.Presence(user=user, online=user in self.online) for user in users]
        frame = client_pb2.ServerFrame(presence_list=client_pb2.PresenceList(users=presences))
        return logic_pb2.HandleOutcome(frame=frame.SerializeToString() if self.frame is None else self.frame)


class Here:
    def __init__(self) -> None:
        self.logic = CannedLogic()
        self.notifier = PresenceNotifier(cast("Any", self.logic), ManualClock(), watched_max=3)

    def watch(self, *users: str) -> Client:
        """A client that watches these users, and was answered who of them is online."""
        client = open_client("ann")
        request = client_pb2.PresenceRequest(users=users, watch=True)
        self.notifier.watch(client.connection, request)
        for user in users:
            self.notifier.learn(presence(user, user in self.logic.online), client.connection)
        return client

    def changed(self, user: str, *, up: bool) -> None:
        self.notifier.sessions_changed(
            delivery_pb2.SessionChanges(changes=[delivery_pb2.SessionChange(user=user, up=up, time_ms=5)])
        )


@asynccontextmanager
async def here(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:
    for pause in ("GATHER_S", "RETRY_S", "AGAIN_S"):
        monkeypatch.setattr(notifier, pause, 0.0)
    place = Here()
    async with place.notifier:
        yield place


def presence(user: str, online: bool) -> client_pb2.PresenceList:
    return client_pb2.PresenceList(users=[client_pb2.Presence(user=user, online=online)])


def shown(client: Client) -> list[tuple[str, bool]]:
    return [(known.user, known.online) for frame in client.answers for known in frame.presence_list.users]


async def eventually(so: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not so():  # noqa: ASYNC110 - plain values are looked at
            await asyncio.sleep(0)


async def test_a_session_that_begins_is_shown_at_once_and_logic_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(monkeypatch) as place:
        watcher, other = place.watch("cid"), open_client("eve")
        place.changed("cid", up=True)
        assert (shown(watcher), shown(other)) == ([("cid", True)], [])
    assert place.logic.asked == []


async def test_a_session_that_ends_is_asked_about_and_shown_when_the_user_is_offline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with here(monkeypatch) as place:
        watcher = place.watch("bob")
        place.logic.online.clear()
        place.changed("bob", up=False)
        await eventually(lambda: shown(watcher))
    assert shown(watcher) == [("bob", False)]


async def test_a_user_who_is_still_online_is_asked_about_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(monkeypatch) as place:
        watcher = place.watch("bob")
        place.changed("bob", up=False)
        await eventually(lambda: len(place.logic.asked) == 1)
        place.logic.online.clear()
        await eventually(lambda: shown(watcher))
    assert (place.logic.asked, shown(watcher)) == ([["bob"], ["bob"]], [("bob", False)])


async def test_while_logic_is_away_the_question_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(monkeypatch) as place:
        watcher = place.watch("bob")
        place.logic.error = Unavailable("away")
        place.changed("bob", up=False)
        await eventually(lambda: len(place.logic.asked) >= 2)
        place.logic.error = None
        place.logic.online.clear()
        await eventually(lambda: shown(watcher))
    assert shown(watcher) == [("bob", False)]


async def test_when_a_node_dies_all_who_may_be_online_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(monkeypatch) as place:
        place.watch("bob", "cid")
        place.logic.online.clear()
        place.notifier.node_died()
        await eventually(lambda: place.logic.asked)
    assert place.logic.asked == [["bob"]]


async def test_the_asker_gets_its_reply_and_no_push_besides() -> None:
    place = Here()
    asker, other = place.watch("bob"), place.watch("bob")
    place.notifier.learn(presence("bob", online=False), asker.connection)
    assert (shown(asker), shown(other)) == ([], [("bob", False)])


async def test_an_answer_that_is_no_frame_ends_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(monkeypatch) as place:
        watcher = place.watch("bob")
        place.logic.frame = b"\xff\xff"
        place.notifier.ask(["bob"])
        await eventually(lambda: place.logic.asked)
        for _ in range(50):
            await asyncio.sleep(0)
    assert (place.logic.asked, shown(watcher)) == ([["bob"]], [])


async def test_more_than_a_connection_may_watch_or_ask_about_is_refused_with_what_to_do() -> None:
    place, client = Here(), open_client("ann")
    many = client_pb2.PresenceRequest(users=["a", "b", "c", "d"], watch=True)
    with pytest.raises(BadRequest, match="stop watching some first"):
        place.notifier.watch(client.connection, many)
    with pytest.raises(BadRequest, match="ask in parts"):
        place.notifier.watch(
            client.connection, client_pb2.PresenceRequest(users=map(str, range(USERS_MAX + 1)), watch=False)
        )
    assert len(place.notifier.watchers) == 0


async def test_who_stops_watching_is_shown_nothing_more() -> None:
    place = Here()
    watcher = place.watch("cid")
    place.notifier.watch(watcher.connection, client_pb2.PresenceRequest(users=["cid"]))
    place.changed("cid", up=True)
    assert shown(watcher) == []
