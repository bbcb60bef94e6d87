"""The index of large groups becomes what storage says, whatever news came meanwhile or did not come at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.access.cluster.group_index import GroupIndex
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.requests.pongs import Groups, HeartbeatReplies
from tests.unit.access.delivery.test_delivery import Here
from tests.unit.access.fakes import Wire
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import BROADCAST
from tidings_protocol.wire.codec import PROTO


class Storage:
    """What is true, and what happens while it is read."""

    def __init__(self) -> None:
        self.truth: dict[str, dict[str, int]] = {}
        self.asked: list[list[str]] = []
        self.failures = 0
        self.complete = True
        self.tells = True
        self.meanwhile: list[tuple[str, str, bool]] = []  # (group, user, joined): one change in each answer
        self.hub: Hub[Connection] | None = None

    async def groups(self, users: Sequence[str]) -> list[Groups | None]:
        self.asked.append(list(users))
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        answer = [Groups(dict(self.truth.get(user, {})), self.complete) if self.tells else None for user in users]
        if self.meanwhile and self.hub is not None:
            group, user, joined = self.meanwhile.pop()
            if joined:
                self.truth.setdefault(user, {})[group] = 1
                self.hub.join(group, user)
            else:
                self.truth.get(user, {}).pop(group, None)
                self.hub.leave(group, user)
        return answer


class StorageHeads(HeartbeatReplies):
    """Asks `Storage`; tells connections as ever."""

    def __init__(self, storage: Storage, here: Here) -> None:
        super().__init__(None, here.hub, here.clock, capacity=1)  # type: ignore[arg-type]  # nobody is asked for heads
        self._storage = storage

    async def groups(self, users: Sequence[str]) -> list[Groups | None]:
        return await self._storage.groups(users)


class Place:
    """An index, and whose connections it is about."""

    def __init__(self) -> None:
        self.here, self.storage = Here(), Storage()
        self.hub = self.storage.hub = self.here.hub
        self.index = GroupIndex(self.hub, StorageHeads(self.storage, self.here), every_s=0.1)

    def connect(self, user: str) -> Wire:
        return self.here.connect(user)

    def shown(self, user: str) -> set[str]:
        return set(self.hub.groups_of(user))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.access.cluster.group_index.STEP_S", 0.001)


def heads_told(wire: Wire) -> list[dict[str, int]]:
    return [dict(PROTO.decode_server(frame).pong.group_heads) for frame in wire.frames]


async def test_who_was_added_is_told_and_who_is_out_is_told_nothing_more() -> None:
    place = Place()
    ann, bob = place.connect("ann"), place.connect("bob")
    place.hub.join("g:old", "ann")
    place.storage.truth = {"bob": {"g:new": 7, BROADCAST: 3}}
    await place.index.compare(["ann", "bob"])
    assert (place.shown("ann"), place.shown("bob")) == (set(), {"g:new"})
    assert (heads_told(ann), heads_told(bob)) == ([], [{"g:new": 7}])
    await place.index.compare(["ann", "bob"])
    assert heads_told(bob) == [{"g:new": 7}], "once"


@pytest.mark.parametrize("how", ["incomplete", "not told"])
async def test_a_list_that_is_not_whole_removes_nobody(how: str) -> None:
    place = Place()
    place.connect("ann")
    place.hub.join("g:1", "ann")
    place.storage.complete, place.storage.tells = how != "incomplete", how != "not told"
    await place.index.compare(["ann"])
    assert place.shown("ann") == {"g:1"}


async def test_what_others_do_meanwhile_keeps_nobody_from_being_compared() -> None:
    place = Place()
    place.connect("ann")
    place.storage.truth = {"ann": {"g:1": 1}}
    place.storage.meanwhile = [("g:2", f"user{number}", False) for number in range(10)]
    await place.index.compare(["ann"])
    assert place.shown("ann") == {"g:1"}
    assert len(place.storage.asked) == 1


@pytest.mark.parametrize("joined", [True, False])
async def test_news_that_came_while_the_answer_was_on_its_way_counts_and_only_that_user_is_asked_again(
    joined: bool,
) -> None:
    place = Place()
    place.connect("ann")
    place.connect("bob")
    if not joined:
        place.hub.join("g:1", "ann")
        place.storage.truth = {"ann": {"g:1": 1}}
    place.storage.meanwhile = [("g:1", "ann", joined)]
    await place.index.compare(["ann", "bob"])
    assert place.shown("ann") == ({"g:1"} if joined else set())
    assert place.storage.asked == [["ann", "bob"], ["ann"]]


async def test_who_left_this_node_meanwhile_is_not_asked_about_again() -> None:
    place = Place()
    place.connect("ann")
    [connection] = place.hub.connections_of("ann")
    original = place.storage.groups

    async def groups(users: Sequence[str]) -> list[Groups | None]:
        answer = await original(users)
        place.hub.remove("ann", connection)
        return answer

    place.storage.groups = groups  # type: ignore[method-assign]  # as asked once, and then as it was
    place.storage.truth = {"ann": {"g:1": 1}}
    await place.index.compare(["ann"])
    assert (place.hub.group_count, place.storage.asked) == (0, [["ann"]])


@asynccontextmanager
async def running(place: Place) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(place.index)
        async with asyncio.timeout(20):
            yield


async def test_all_users_are_compared_by_time_and_those_who_could_not_be_in_the_next_step() -> None:
    place = Place()
    for number in range(120):
        place.connect(f"user{number}")
    place.storage.truth = {f"user{number}": {"g:1": 1} for number in range(120)}
    place.storage.failures = 20
    async with running(place):
        while len(list(place.hub.readers("g:1"))) < 120:  # noqa: ASYNC110 - plain values are looked at
            await asyncio.sleep(0)
    assert max(map(len, place.storage.asked)) <= 50


async def test_a_round_takes_the_time_that_it_has_and_begins_anew() -> None:
    place = Place()
    assert place.index._next() == []
    for number in range(10):
        place.connect(f"user{number}")
    shares = [len(place.index._next()) for _ in range(1000)]  # ten rounds of a hundred steps
    assert sum(shares) == 100
    assert max(shares) == 1


GROUPS = ["g:1", "g:2"]
CHANGES = st.tuples(st.sampled_from(["ann", "bob"]), st.sampled_from(GROUPS), st.booleans(), st.booleans())


@given(before=st.lists(CHANGES, max_size=8), meanwhile=st.lists(CHANGES, max_size=3))
def test_after_a_comparison_the_index_is_what_storage_says_whatever_news_was_lost(
    before: list[tuple[str, str, bool, bool]], meanwhile: list[tuple[str, str, bool, bool]]
) -> None:
    async def run() -> None:
        place = Place()
        for user in ("ann", "bob"):
            place.connect(user)
        for user, group, joined, heard in before:
            groups = place.storage.truth.setdefault(user, {})
            groups.pop(group, None)
            if joined:
                groups[group] = 1
            if heard:
                (place.hub.join if joined else place.hub.leave)(group, user)
        place.storage.meanwhile = [(group, user, joined) for user, group, joined, _ in meanwhile]
        await place.index.compare(["ann", "bob"])
        for user in ("ann", "bob"):
            assert place.shown(user) == set(place.storage.truth.get(user, {}))

    asyncio.run(run())


def test_a_reading_that_is_over_gathers_nothing() -> None:
    hub: Hub[object] = Hub()
    hub.add("ann", object())
    with hub.changes() as one, hub.changes() as two:
        hub.join("g:1", "ann")
    hub.leave("g:1", "ann")
    hub.leave("g:1", "bob")
    assert one == two == {"ann"}
