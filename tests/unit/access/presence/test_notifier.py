"""Watchers are shown changes of presence: at once, or when logic has answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from services.access.presence import notifier
from services.access.presence.notifier import PresenceNotifier
from services.access.presence.questions import USERS_MAX
from services.common import gatherer
from services.common.clock import ManualClock
from tests.unit.access.fakes import Client, open_client
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest, TidingsError, Unavailable


class CannedLogic:
    """Knows who is online; is away on command."""

    def __init__(self) -> None:
        self.online = {"bob"}
        self.blocks: set[tuple[str, str]] = set()  # (who blocks, whom)
        self.asked: list[list[str]] = []
        self.error: TidingsError | None = None
        self.frame: bytes | None = None

    async def handle(self, items: Sequence[logic_pb2.HandleItem]) -> Sequence[logic_pb2.HandleOutcome | TidingsError]:
        return [self._answer(item, list(_asked(item))) for item in items]

    def _answer(self, item: logic_pb2.HandleItem, users: list[str]) -> logic_pb2.HandleOutcome | TidingsError:
        self.asked.append(users)
        if self.error is not None:
            return self.error
        hiding = [user for user in users if item.session and (user, item.user) in self.blocks]
        online = self.online.difference(hiding)
        presences = [client_pb2.Presence(user=user, online=user in online) for user in users]
        frame = client_pb2.ServerFrame(presence_list=client_pb2.PresenceList(users=presences))
        encoded = frame.SerializeToString() if self.frame is None else self.frame
        return logic_pb2.HandleOutcome(frame=encoded, hiding=hiding)


def _asked(item: logic_pb2.HandleItem) -> Sequence[str]:
    return client_pb2.ClientFrame.FromString(item.frame).presence.users


class Here:
    def __init__(self) -> None:
        self.logic = CannedLogic()
        self.notifier = PresenceNotifier(cast("Any", self.logic), ManualClock(), watched_max=3)

    def watch(self, *users: str, as_user: str = "ann") -> Client:
        """A client that watches these users, and was answered who of them is online."""
        client = open_client(as_user)
        request = client_pb2.PresenceRequest(users=users, watch=True)
        self.notifier.watch(client.connection, request)
        for user in users:
            hiding = [user] if (user, as_user) in self.logic.blocks else []
            online = user in self.logic.online and not hiding
            self.notifier.learn(presence(user, online), client.connection, hiding)
        return client

    def block(self, user: str, other: str, *, blocked: bool = True) -> None:
        """The news of a block, as logic will answer from now on."""
        self.logic.blocks.add((user, other)) if blocked else self.logic.blocks.discard((user, other))
        self.notifier.blocks_changed(
            delivery_pb2.BlockChange(user=user, users=[other, "zoe"], blocked=blocked, time_ms=7)
        )

    def changed(self, user: str, *, up: bool) -> None:
        self.notifier.sessions_changed(
            delivery_pb2.SessionChanges(changes=[delivery_pb2.SessionChange(user=user, up=up, time_ms=5)])
        )


@asynccontextmanager
async def here(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:
    for pause in ("GATHER_S", "AGAIN_S"):
        monkeypatch.setattr(notifier, pause, 0.0)
    monkeypatch.setattr(gatherer, "RETRY_S", 0.0)
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


async def test_who_blocks_a_watcher_looks_offline_to_it_and_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(monkeypatch) as place:
        ann, eve = place.watch("bob"), place.watch("bob", as_user="eve")
        place.block("bob", "ann")
        assert (shown(ann), shown(eve)) == ([("bob", False)], [])
        place.logic.online.clear()
        place.changed("bob", up=False)
        await eventually(lambda: shown(eve))
        place.logic.online.add("bob")
        place.changed("bob", up=True)
        assert (shown(ann), shown(eve)) == ([("bob", False)], [("bob", False), ("bob", True)])
        place.block("bob", "ann", blocked=False)
    assert shown(ann) == [("bob", False), ("bob", True)]
    assert shown(eve) == [("bob", False), ("bob", True)]


async def test_an_answer_that_hides_somebody_says_nothing_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(monkeypatch) as place:
        place.logic.blocks.add(("bob", "ann"))
        eve, ann = place.watch("bob", as_user="eve"), place.watch("bob")
        assert (shown(eve), shown(ann)) == ([], [])
        place.logic.online.clear()
        place.changed("bob", up=False)
        await eventually(lambda: shown(eve))
    assert (shown(eve), shown(ann)) == ([("bob", False)], [])


async def test_who_was_hidden_from_the_first_watcher_is_asked_about_when_it_may_be_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with here(monkeypatch) as place:
        place.logic.blocks.add(("bob", "ann"))
        ann = place.watch("bob")
        place.block("bob", "ann", blocked=False)
        await eventually(lambda: shown(ann))
    assert shown(ann) == [("bob", True)]


async def test_a_block_that_overtakes_the_answer_is_shown_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(monkeypatch) as place:
        place.watch("bob", as_user="eve")
        client = open_client("ann")
        place.notifier.watch(client.connection, client_pb2.PresenceRequest(users=["bob"], watch=True))
        place.block("bob", "ann")
        assert shown(client) == []
        place.notifier.learn(presence("bob", online=True), client.connection)
    assert shown(client) == [("bob", False)]


async def test_a_session_that_begins_before_the_answer_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(monkeypatch) as place:
        client = open_client("ann")
        place.notifier.watch(client.connection, client_pb2.PresenceRequest(users=["bob"], watch=True))
        place.changed("bob", up=True)
        assert shown(client) == []
        place.notifier.learn(presence("bob", online=False), client.connection)
        await eventually(lambda: shown(client))
    assert shown(client) == [("bob", True)]


async def test_where_news_may_be_lost_each_watcher_is_asked_about_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(monkeypatch) as place:
        ann, eve = place.watch("bob"), place.watch("bob", as_user="eve")
        place.logic.blocks.add(("bob", "ann"))
        place.logic.error = Unavailable("away", 1)
        place.notifier.check_all()
        await eventually(lambda: len(place.logic.asked) >= 2)
        place.logic.error = None
        await eventually(lambda: shown(ann))
        assert (shown(ann), shown(eve)) == ([("bob", False)], [])
        place.logic.blocks.clear()
        place.notifier.check_all()
        await eventually(lambda: len(shown(ann)) == 2)
    assert (shown(ann), shown(eve)) == ([("bob", False), ("bob", True)], [])
