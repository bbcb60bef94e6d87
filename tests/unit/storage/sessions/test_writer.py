"""Logins of users who are known cost one write, and what is remembered wrongly is found out."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.limits import TRIES_MAX
from services.storage.repository.records import SessionDocument
from services.storage.sessions.newest import Login
from services.storage.sessions.writer import LoginResults, SessionWriter
from tests.unit.storage.nodes import World
from tests.unit.storage.sessions.test_sessions import ended, item, opened, present, replaced
from tidings_protocol.errors import TidingsError, Unavailable


def two_owners() -> World:
    """Of two nodes each thinks that it owns everybody: so each remembers, and neither is told."""
    world = World()
    world.hood.owner_of = lambda _: ""
    return world


async def commands_of(world: World, work: Awaitable[object]) -> list[str]:
    named: list[str] = []

    async def note(name: str) -> None:
        named.append(name)

    world.database.faults.delay = note
    await work
    world.database.faults.delay = None
    return list(dict.fromkeys(named))


async def test_a_login_of_a_known_user_writes_the_session_and_reads_only_where_the_user_is_a_member() -> None:
    world = World()
    async with world.node() as node:
        await opened(node, item("s1"), item("t1", user="bob"))
        assert await commands_of(world, node.sessions.close([ended("s1")])) == ["sessions.remove"]
        both = opened(node, item("s2"), item("t2", user="bob"))
        assert await commands_of(world, both) == ["sessions.put", "members.memberships"]
        assert (await present(node), await present(node, "bob")) == (["s2"], ["t2"])


async def test_a_user_who_is_not_known_any_more_is_read_but_not_welcomed_again() -> None:
    world = World()
    async with world.node() as node:
        await opened(node, item("s1"))
        await node.forget(["ann"], [])
        assert await commands_of(world, opened(node, item("s2"))) == [
            "users.find",
            "sessions.of_users",
            "sessions.put",
            "inbox.pages",
            "members.memberships",
        ]


async def test_a_session_that_another_node_put_meanwhile_is_replaced_all_the_same() -> None:
    world = two_owners()
    async with world.node("one") as one, world.node("two") as two:
        await opened(one, item("s1"))
        await opened(two, item("s2"))
        [outcome] = await opened(one, item("s3"))
        assert replaced(outcome) == ["s2", "s1"]


async def test_nobody_is_refused_because_of_a_session_that_is_only_remembered() -> None:
    world = two_owners()
    async with world.node("one") as one, world.node("two") as two:
        await opened(one, item("s5", attempt=5))
        await two.sessions.close([ended("s5")])
        [outcome] = await opened(one, item("s3", attempt=3))
        assert not outcome.newer.session
        assert await present(one) == ["s3"]


async def test_those_who_came_along_with_a_wrong_memory_are_decided_anew() -> None:
    """By what is remembered, s4 is the newest, so that s3 is overtaken. But s4 was replaced by a login without number,
    before which every number counts for nothing.
    """
    world = two_owners()
    async with world.node("one") as one, world.node("two") as two:
        await opened(one, item("t1", "web"))
        await opened(two, item("s4", attempt=4))
        await opened(two, item("s0"))
        s4, s3 = await opened(one, item("s4", attempt=4), item("s3", attempt=3))
        assert (s4.newer.session, s3.newer.session) == ("s0", "")
        assert sorted(await present(one)) == ["s3", "t1"]


async def test_a_repeated_login_whose_session_has_ended_elsewhere_is_stored_again() -> None:
    world = two_owners()
    async with world.node("one") as one, world.node("two") as two:
        await opened(one, item("s1"))
        await two.sessions.close([ended("s1")])
        await opened(one, item("s1"))
        assert await present(two) == ["s1"]


async def test_a_device_is_not_one_too_many_because_of_those_that_are_only_remembered() -> None:
    world = two_owners()
    async with world.node("one") as one, world.node("two") as two:
        await opened(one, item("s1"), item("t1", "web"), item("u1", "pad"))
        await two.sessions.close([pb.SessionCloseItem(user="ann", device="web", session="t1")])
        await opened(one, item("v1", "watch"))
        assert sorted(await present(one)) == ["s1", "u1", "v1"]


async def test_a_device_that_logs_in_elsewhere_each_time_that_it_is_tried_is_told_to_try_again() -> None:
    world = World()
    async with world.node() as node:
        tries = 0

        async def come_between(name: str) -> None:
            nonlocal tries
            if name == "sessions.put":
                tries += 1
                world.database.sessions["ann"]["phone"] = SessionDocument("ann", "phone", f"other{tries}")

        world.database.faults.delay = come_between
        repository = world.database.repository()
        writer = SessionWriter(repository, node.lists, node.known, node.behind, node.invalidation, world.clock)
        results = LoginResults()
        with pytest.raises(Unavailable):
            await writer.open({0: Login(SessionDocument("ann", "phone", "s1"), 1, frozenset())}, results)
        assert results == LoginResults()
        assert tries == 2 * TRIES_MAX  # before and after each


@pytest.mark.parametrize("name", ["open", "close"])
async def test_after_an_unknown_outcome_what_is_there_is_read(name: str) -> None:
    world = World()
    async with world.node() as node:
        await opened(node, item("s1"))
        world.database.faults.lose_answers()
        if name == "open":
            [lost] = await node.sessions.open([item("s2")], ["b1"])
            assert isinstance(lost, Unavailable)
        else:
            with pytest.raises(TidingsError):
                await node.sessions.close([ended("s1")])
        assert await present(node) == (["s2"] if name == "open" else [])
        [outcome] = await opened(node, item("s2"))
        assert replaced(outcome) == (["s1"] if name == "open" else [])


async def test_an_owner_is_told_of_sessions_that_another_node_began_in_its_place() -> None:
    world = World()
    async with world.node("one") as owner, world.node("two") as other:
        await opened(owner, item("s1"))
        assert len(owner.known) == 1
        await opened(other, item("s2"))
        assert await other.invalidation.flush()
        assert (len(owner.known), len(other.known)) == (0, 0)
        await opened(owner, item("s3"))
        await other.sessions.close([ended("s3")])
        assert await other.invalidation.flush()
        assert len(owner.known) == 0


async def test_when_a_user_was_seen_last_is_told_before_it_is_written_and_written_behind() -> None:
    world = World()
    async with world.node() as node:
        await opened(node, item("s1"))
        world.clock.advance(5)
        left_ms = world.clock.wall_ms()
        await node.sessions.close([ended("s1")])
        world.clock.advance(5)
        (asked,), (listed,) = await node.sessions.sessions_of(["ann"]), await node.sessions.users(["ann"])
        assert (asked.last_seen_ms, listed.last_seen_ms) == (left_ms, left_ms)
        assert world.database.users["ann"].last_seen_ms == 0
        await node.behind.flush()
        assert world.database.users["ann"].last_seen_ms == left_ms


async def test_who_has_come_back_before_it_was_written_needs_no_such_write() -> None:
    world = World()
    async with world.node() as node:
        await opened(node, item("s1"))
        await node.sessions.close([ended("s1")])
        await opened(node, item("s2"))
        assert node.behind.waiting == 0
