"""Pings and their answers: what each shows, also while logic is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.requests import pongs
from services.access.requests.pongs import Groups, HeartbeatReplies
from services.common.clock import ManualClock
from tests.unit.access.fakes import Client, open_client
from tidings_protocol.errors import TidingsError, Unavailable


class CannedLogic:
    """Knows heads by name; is away on command, and of an earlier version too."""

    def __init__(self) -> None:
        self.heads_of = {"ann": 5, "bob": 9, "b:all": 3, "g:1": 8}
        self.groups_of: dict[str, dict[str, int]] = {}
        self.error: TidingsError | None = None
        self.calls: list[tuple[list[str], list[str]]] = []
        self.is_early = False

    async def heads(
        self, users: Sequence[str], conversations: Sequence[str], *, large_groups: bool = False
    ) -> logic_pb2.HeadsAnswer:
        self.calls.append((list(users), list(conversations)))
        if self.error is not None:
            raise self.error
        answer = logic_pb2.HeadsAnswer(
            users=[self.heads_of.get(user, 0) for user in users],
            conversations=[self.heads_of.get(name, 0) for name in conversations],
        )
        if large_groups and not self.is_early:
            answer.large_groups.extend(logic_pb2.LargeGroups(heads=self.groups_of.get(user, {})) for user in users)
        return answer


class Here:
    def __init__(self) -> None:
        self.logic, self.hub = CannedLogic(), Hub[Connection]()
        self.replies = HeartbeatReplies(cast("Any", self.logic), self.hub, ManualClock(), capacity=10)

    def connect(self, user: str, *groups: str) -> Client:
        client = open_client(user)
        self.hub.add(user, client.connection)
        for group in groups:
            self.hub.join(group, user)
        return client

    async def ping(self, *clients: Client) -> list[Any]:
        """The pong of each."""
        for number, client in enumerate(clients):
            client.wire.frames.clear()
            self.replies.on_ping(client.connection, number)
        async with asyncio.timeout(30):
            while not all(client.answers for client in clients):  # noqa: ASYNC110 - plain values of the transports
                await asyncio.sleep(0)
        assert [client.answers[0].id for client in clients] == list(range(len(clients)))
        return [client.answers[0].pong for client in clients]


@asynccontextmanager
async def here(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:
    monkeypatch.setattr(pongs, "GATHER_S", 0.0)
    place = Here()
    async with place.replies:
        yield place


async def test_pings_of_a_moment_are_one_call_and_each_shows_its_own_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(monkeypatch) as place:
        ann, bob = place.connect("ann", "g:1"), place.connect("bob")
        first, second = await place.ping(ann, bob)
    assert (first.inbox_head, dict(first.group_heads)) == (5, {"b:all": 3, "g:1": 8})
    assert (second.inbox_head, dict(second.group_heads)) == (9, {"b:all": 3})
    assert place.logic.calls == [(["ann", "bob"], ["b:all", "g:1"])]


async def test_only_heads_that_have_moved_are_shown_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(monkeypatch) as place:
        ann = place.connect("ann", "g:1")
        await place.ping(ann)
        (again,) = await place.ping(ann)
        place.logic.heads_of["g:1"] = 11
        (moved,) = await place.ping(ann)
    assert dict(again.group_heads) == {}
    assert dict(moved.group_heads) == {"g:1": 11}


async def test_while_logic_is_away_a_ping_is_answered_with_what_was_shown_last(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(monkeypatch) as place:
        ann = place.connect("ann")
        await place.ping(ann)
        place.logic.error = Unavailable("away")
        (pong,) = await place.ping(ann)
    assert (pong.inbox_head, dict(pong.group_heads)) == (5, {})


async def test_a_head_is_never_behind_what_the_connection_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    async with here(monkeypatch) as place:
        ann = place.connect("ann")
        assert ann.connection.push(b"", 7, 1000.0, "deliver")
        (pong,) = await place.ping(ann)
    assert pong.inbox_head == 7


async def test_a_ping_beyond_what_may_wait_is_answered_at_once() -> None:
    place = Here()
    async with place.replies:
        clients = [place.connect(f"u{number}") for number in range(11)]
        for client in clients:
            place.replies.on_ping(client.connection, 1)
        assert [len(client.answers) for client in clients] == [0] * 10 + [1]


async def test_heads_of_groups_are_pushed_in_a_pong_that_no_ping_asked_for() -> None:
    place = Here()
    ann = place.connect("ann")
    place.replies.push_heads(ann.connection, {"g:1": 4})
    (frame,) = ann.answers
    assert (frame.id, dict(frame.pong.group_heads)) == (0, {"g:1": 4})


async def test_heads_and_groups_of_many_users_are_read_in_parts_and_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pongs, "BATCH_MAX", 2)
    monkeypatch.setattr(pongs, "GROUPS_MAX", 2)
    place = Here()
    place.logic.groups_of = {"bob": {"g:1": 8}}
    assert await place.replies.read(["ann", "bob", "cid"]) == [5, 9, 0]
    known = [Groups({}, complete=True), Groups({"g:1": 8}, complete=True), Groups({}, complete=True)]
    assert await place.replies.groups(["ann", "bob", "cid"]) == known
    place.logic.is_early = True
    assert await place.replies.groups(["ann", "bob", "cid"]) == [None] * 3
    assert [len(users) for users, _ in place.logic.calls] == [2, 1] * 3


async def test_a_connection_that_cannot_be_written_to_ends_and_the_others_have_their_pongs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with here(monkeypatch) as place:
        broken, bob = place.connect("ann"), place.connect("bob")
        broken.wire.fails = True
        place.replies.on_ping(broken.connection, 1)
        (pong,) = await place.ping(bob)
    assert pong.inbox_head == 9
    assert (broken.wire.aborted, bob.wire.aborted) == (True, False)
