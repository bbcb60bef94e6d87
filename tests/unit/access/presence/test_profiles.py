"""Watchers are shown the profiles that change, also those of which the news were lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from protos.tidings.internal.v1 import logic_pb2
from services.access.presence import profiles
from services.access.presence.profiles import ProfileNotifier
from services.access.presence.questions import USERS_MAX
from services.common import gatherer
from services.common.clock import ManualClock
from tests.unit.access.fakes import Client, open_client
from tidings_protocol import client_pb2
from tidings_protocol.client_pb2 import Profile
from tidings_protocol.errors import BadRequest, TidingsError, Unavailable

Get = client_pb2.ProfileRequest.Get


class CannedLogic:
    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.asked: list[list[str]] = []
        self.error: TidingsError | None = None
        self.frame: bytes | None = None

    async def handle(self, items: Sequence[logic_pb2.HandleItem]) -> Sequence[logic_pb2.HandleOutcome | TidingsError]:
        return [self._answer(item) for item in items]

    def _answer(self, item: logic_pb2.HandleItem) -> logic_pb2.HandleOutcome | TidingsError:
        assert not item.session
        users = list(client_pb2.ClientFrame.FromString(item.frame).profile.get.users)
        self.asked.append(users)
        if self.error is not None:
            return self.error
        frame = client_pb2.ServerFrame(profile_list=told(**{user: self.versions.get(user, 0) for user in users}))
        return logic_pb2.HandleOutcome(frame=frame.SerializeToString() if self.frame is None else self.frame)


def told(**versions: int) -> client_pb2.ProfileList:
    return client_pb2.ProfileList(profiles=[Profile(user=user, version=version) for user, version in versions.items()])


def shown(client: Client) -> list[tuple[str, int]]:
    return [(each.user, each.version) for frame in client.answers for each in frame.profile_list.profiles]


def notifier(logic: CannedLogic) -> ProfileNotifier:
    return ProfileNotifier(cast("Any", logic), ManualClock(), watched_max=3)


def watcher(here: ProfileNotifier, *users: str) -> Client:
    client = open_client("ann")
    here.watch(client.connection, Get(users=users, watch=True))
    return client


async def eventually(so: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not so():  # noqa: ASYNC110 - plain values are looked at
            await asyncio.sleep(0)


async def test_who_watches_is_shown_what_changes_and_nobody_else_is() -> None:
    here = notifier(CannedLogic())
    one, other = watcher(here, "bob"), watcher(here, "cid")
    here.changed(told(bob=1, dan=1))
    here.changed(told(bob=2))
    here.changed(told(bob=1))
    assert (shown(one), shown(other)) == ([("bob", 1), ("bob", 2)], [])


async def test_the_connection_that_set_a_profile_is_not_shown_it() -> None:
    here = notifier(CannedLogic())
    one = watcher(here, "ann")
    here.changed(told(ann=1), one.connection.session_id)
    here.changed(told(ann=2), "another")
    assert shown(one) == [("ann", 2)]


async def test_who_stops_watching_or_is_gone_is_shown_nothing_more() -> None:
    here = notifier(CannedLogic())
    one, two = watcher(here, "bob", "cid"), watcher(here, "bob")
    here.watch(one.connection, Get(users=["bob"]))
    here.forget(two.connection)
    here.changed(told(bob=1, cid=1))
    assert (shown(one), shown(two)) == ([("cid", 1)], [])


async def test_too_many_are_refused() -> None:
    here = notifier(CannedLogic())
    one = watcher(here, "a", "b", "c")
    with pytest.raises(BadRequest, match="may watch 3 profiles"):
        here.watch(one.connection, Get(users=["d"], watch=True))
    with pytest.raises(BadRequest, match="101 users"):
        here.watch(one.connection, Get(users=[f"u{n}" for n in range(USERS_MAX + 1)], watch=True))


async def test_where_news_may_be_lost_all_who_are_watched_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "GATHER_S", 0.0)
    monkeypatch.setattr(gatherer, "RETRY_S", 0.0)
    logic = CannedLogic()
    async with notifier(logic) as here:
        here.check_all()
        one = watcher(here, "bob", "cid")
        here.changed(told(bob=3, cid=3))
        logic.versions = {"bob": 3, "cid": 4}
        logic.error = Unavailable("away")
        here.check_all()
        await eventually(lambda: len(logic.asked) >= 2)
        logic.error = None
        await eventually(lambda: len(shown(one)) == 3)
        assert shown(one) == [("bob", 3), ("cid", 3), ("cid", 4)]
        logic.frame = b"\xff"
        asked = len(logic.asked)
        here.check_all()
        await eventually(lambda: len(logic.asked) > asked)
    assert shown(one) == [("bob", 3), ("cid", 3), ("cid", 4)]
