"""Sessions, and the users that come into being with them."""

from __future__ import annotations

import asyncio
import random

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.limits import Limits
from services.storage.node import Storage
from services.storage.sessions.sessions import GROUPS_MAX
from tests.unit.storage.nodes import World, changed, create, send, stored
from tidings_protocol.errors import Overloaded, TidingsError, Unavailable


def item(
    session: str,
    device: str = "phone",
    user: str = "ann",
    boot: str = "b1",
    devices_max: int = 3,
    *,
    attempt: int = 0,
    since_ms: int = 0,
    again: bool = False,
    groups: tuple[str, ...] = (),
) -> pb.SessionItem:
    record = pb.SessionRecord(
        user=user,
        device=device,
        session=session,
        node="access-0",
        boot_id=boot,
        kind=2,
        attempt=attempt,
        since_ms=since_ms,
    )
    return pb.SessionItem(record=record, devices_max=devices_max, again=again, groups=groups)


def replaced(outcome: pb.SessionOpenOutcome) -> list[str]:
    named = (outcome.replaced, *outcome.replaced_before)
    return [each.session for each in named if each.session]


async def present(node: Storage, user: str = "ann") -> list[str]:
    (found,) = await node.sessions.sessions_of([user])
    return [session.session for session in found.sessions]


async def opened(
    node: Storage, *items: pb.SessionItem, live: tuple[str, ...] = ("b1", "b2")
) -> list[pb.SessionOpenOutcome]:
    outcomes: list[pb.SessionOpenOutcome] = []
    for outcome in await node.sessions.open(items, live):
        if isinstance(outcome, TidingsError):
            raise outcome
        outcomes.append(outcome)
    return outcomes


async def test_a_session_begins_with_what_the_welcome_needs() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("bob", "ann", "x"))
        await changed(node, create("g:1", "ann", large=True))
        (outcome,) = await opened(node, item("s1"))
        assert (outcome.inbox_head, outcome.epoch, replaced(outcome)) == (1, world.database.epoch, [])
        assert [record.conversation for record in outcome.large] == ["g:1"]


async def test_a_later_session_of_a_device_replaces_the_earlier_one() -> None:
    async with World().node() as node:
        await opened(node, item("s1", boot="b1"))
        (outcome,) = await opened(node, item("s2", boot="b2"))
        assert (outcome.replaced.session, outcome.replaced.node, outcome.replaced.boot_id) == ("s1", "access-0", "b1")
        assert await present(node) == ["s2"]


async def test_a_repeated_opening_tells_the_same() -> None:
    async with World().node() as node:
        await opened(node, item("s1"))
        first = await opened(node, item("s2"))
        assert await opened(node, item("s2")) == first


async def test_a_delayed_opening_does_not_replace_the_session_that_replaced_it() -> None:
    async with World().node() as node:
        await opened(node, item("s1"))
        await opened(node, item("s2"))
        (late,) = await opened(node, item("s1"))
        assert late.newer.session == "s2"
        assert await present(node) == ["s2"]


async def test_a_delayed_opening_does_not_replace_any_of_those_that_came_after_it() -> None:
    async with World().node() as node:
        for name in ("s1", "s2", "s3", "s4"):
            await opened(node, item(name))
        (late,) = await opened(node, item("s1"))
        assert late.newer.session == "s4"
        assert await present(node) == ["s4"]


async def test_whoever_was_replaced_a_moment_ago_is_named_too_since_the_one_between_may_have_told_nobody() -> None:
    world = World()
    async with world.node() as node:
        for name in ("s1", "s2"):
            await opened(node, item(name))
        (third,) = await opened(node, item("s3"))
        assert replaced(third) == ["s2", "s1"]
        world.clock.advance(61)
        (later,) = await opened(node, item("s4"))
        assert replaced(later) == ["s3"]


@pytest.mark.parametrize("order", [(5, 9), (9, 5)])
async def test_of_two_logins_within_a_minute_the_higher_attempt_is_in_whichever_comes_first(
    order: tuple[int, int],
) -> None:
    async with World().node() as node:
        for attempt in order:
            await opened(node, item(f"s{attempt}", attempt=attempt))
        assert await present(node) == ["s9"]


async def test_who_is_overtaken_is_told_by_whom() -> None:
    async with World().node() as node:
        await opened(node, item("s9", attempt=9))
        (outcome,) = await opened(node, item("s5", attempt=5))
        assert (outcome.newer.session, outcome.newer.attempt) == ("s9", 9)


async def test_an_opening_that_is_handled_minutes_late_is_still_the_older_one() -> None:
    world = World()
    async with world.node() as node:
        began_ms = world.clock.wall_ms()
        world.clock.advance(90)
        await opened(node, item("s9", attempt=9))
        world.clock.advance(90)
        (late,) = await opened(node, item("s5", attempt=5, since_ms=began_ms))
        assert late.newer.session == "s9"


async def test_a_device_that_lost_its_number_is_not_kept_out_for_longer_than_a_minute() -> None:
    world = World()
    async with world.node() as node:
        await opened(node, item("s9", attempt=9_000_000))
        world.clock.advance(59)
        (outcome,) = await opened(node, item("s1", attempt=1))
        assert outcome.newer.session == "s9"
        world.clock.advance(2)
        await opened(node, item("s2", attempt=2))
        assert await present(node) == ["s2"]


async def test_a_clock_that_was_an_hour_ahead_keeps_no_device_out() -> None:
    world = World()
    async with world.node() as node:
        ahead_ms = world.clock.wall_ms() + 3_600_000
        await opened(node, item("s9", attempt=9, since_ms=ahead_ms))
        await opened(node, item("s5", attempt=5))
        assert await present(node) == ["s5"]


@pytest.mark.parametrize(("first", "second"), [(0, 5), (5, 0), (0, 0), (5, 5)])
async def test_without_two_different_attempts_arrival_decides(first: int, second: int) -> None:
    async with World().node() as node:
        await opened(node, item("s1", attempt=first))
        await opened(node, item("s2", attempt=second))
        assert await present(node) == ["s2"]


async def test_an_attempt_as_large_as_the_wire_carries_can_be_stored() -> None:
    async with World().node() as node:
        await opened(node, item("s1", attempt=2**64 - 1))
        (found,) = await node.sessions.sessions_of(["ann"])
        assert found.sessions[0].attempt == 2**63 - 1


@pytest.mark.parametrize("with_attempts", [True, False])
@pytest.mark.parametrize("count", [2, 3, 5, 30])
@pytest.mark.parametrize("seed", range(5))
async def test_many_logins_at_once_with_repeats_on_several_nodes_leave_one_and_every_other_is_named(
    count: int, seed: int, *, with_attempts: bool
) -> None:
    """Whoever was welcomed and is not the last is among the replaced of one that was welcomed after it."""
    rng, world = random.Random(f"{count} {seed}"), World()
    async with world.node("one") as one, world.node("two") as two:
        items = [item(f"s{n}", attempt=n + 1 if with_attempts else 0) for n in range(count)]
        calls = items * 2 if with_attempts else items
        rng.shuffle(calls)
        outcomes = await asyncio.gather(*(opened(rng.choice((one, two)), each) for each in calls))
        [left] = await present(one)
    told = {session for [outcome] in outcomes for session in replaced(outcome)}
    welcomed = {
        call.record.session for call, [outcome] in zip(calls, outcomes, strict=True) if not outcome.newer.session
    }
    assert not with_attempts or left == f"s{count - 1}"
    assert welcomed - told == {left}


async def test_a_session_whose_record_is_gone_is_stored_again_but_takes_no_live_ones_place() -> None:
    async with World().node() as node:
        await opened(node, item("s1", again=True))
        assert await present(node) == ["s1"]
        (outcome,) = await opened(node, item("s2", again=True))
        assert outcome.newer.session == "s1"
        await node.sessions.close([pb.SessionCloseItem(user="ann", device="phone", session="s1")])
        await opened(node, item("s2", again=True))
        assert await present(node) == ["s2"]


async def test_a_session_that_one_of_a_dead_boot_had_replaced_is_stored_again() -> None:
    async with World().node() as node:
        await opened(node, item("s1"))
        await opened(node, item("s2", boot="dead"))
        (outcome,) = await opened(node, item("s1", again=True))
        assert replaced(outcome) == []
        assert await present(node) == ["s1"]


async def test_the_sessions_under_a_boot_are_told_by_pages() -> None:
    async with World().node() as node:
        await opened(node, *(item(f"s{n}", user=f"user{n}", boot=f"b{1 + n % 2}") for n in range(6)))
        query = pb.BootQuery(boot_id="b1", limit=2)
        first = await node.sessions.under(query)
        query.after_user, query.after_device = first.sessions[-1].user, first.sessions[-1].device
        second = await node.sessions.under(query)
        assert [each.session for page in (first, second) for each in page.sessions] == ["s0", "s2", "s4"]
        assert (first.more, second.more) == (True, False)


async def test_the_groups_that_a_user_is_not_in_are_told() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create("g:in", "ann", large=True))
        await changed(node, create("g:small", "ann"))
        await changed(node, create("g:out", "bob", large=True))
        (outcome,) = await opened(node, item("s1", groups=("g:in", "g:out", "g:small", "g:none")))
        assert sorted(outcome.left) == ["g:none", "g:out"]


async def test_who_names_more_groups_than_a_batch_may_ask_about_delays_nobody_else() -> None:
    async with World().node() as node:
        many = tuple(f"g:{n}" for n in range(GROUPS_MAX + 1000))
        greedy, modest = await opened(node, item("s1", groups=many), item("s2", user="bob", groups=("g:x",)))
        assert (list(greedy.left), list(modest.left)) == ([], ["g:x"])


async def test_of_several_openings_of_one_device_in_one_batch_only_the_newest_is_stored() -> None:
    async with World().node() as node:
        outcomes = await opened(node, item("s1"), item("s2"), item("t1", "web"), item("s3"), item("s3"))
        assert [replaced(outcome) for outcome in outcomes] == [[], [], [], ["s2", "s1"], ["s2", "s1"]]
        assert [outcome.newer.session for outcome in outcomes] == ["s2", "s3", "", "", ""]
        assert sorted(await present(node)) == ["s3", "t1"]


async def test_a_batch_of_thirty_logins_of_one_device_costs_the_others_one_write() -> None:
    world = World()
    async with world.node() as node:
        await opened(node, item("s0"))
        before = world.database.faults.commands
        await opened(node, item("s1"))
        one = world.database.faults.commands - before
        outcomes = await opened(node, *(item(f"t{n}", attempt=n + 1) for n in range(30)))
        assert world.database.faults.commands - before - one == one
        assert [outcome.newer.session for outcome in outcomes[:-1]].count("") == 0
        assert await present(node) == ["t29"]


def ended(name: str) -> pb.SessionCloseItem:
    return pb.SessionCloseItem(user="ann", device="phone", session=name)


async def test_of_openings_and_endings_of_one_device_in_a_batch_the_newest_that_has_not_ended_is_left() -> None:
    async with World().node() as node:
        await asyncio.gather(
            opened(node, item("s1"), item("s2")), node.sessions.close([ended("s2")]), opened(node, item("s3"))
        )
        assert await present(node) == ["s3"]


async def test_a_session_that_ended_is_not_there_although_its_beginning_came_later_in_the_batch() -> None:
    async with World().node() as node:
        await asyncio.gather(node.sessions.close([ended("s1")]), opened(node, item("s1")))
        assert await present(node) == []


async def test_a_device_that_gives_up_and_comes_again_many_times_costs_a_batch_what_one_login_costs() -> None:
    """One round for each of its logins was more than could be done while the database was slow."""
    world = World()
    async with world.node() as node:

        async def come_and_go(count: int, name: str) -> int:
            before = world.database.faults.commands
            both = [
                (opened(node, item(f"{name}{n}")), node.sessions.close([ended(f"{name}{n}")])) for n in range(count)
            ]
            await asyncio.gather(*(each for pair in both for each in pair))
            return world.database.faults.commands - before

        await come_and_go(1, "first")
        assert await come_and_go(20, "many") == await come_and_go(1, "one")
        assert await present(node) == []


async def test_two_nodes_open_one_device_and_each_session_but_the_last_is_replaced() -> None:
    world = World()
    async with world.node("one") as one, world.node("two") as two:
        told = [
            replaced((await opened(node, item(f"s{index}")))[0])[:1] for index, node in enumerate((one, two, two, one))
        ]
        assert told == [[], ["s0"], ["s1"], ["s2"]]


async def test_more_devices_than_allowed_are_refused_but_not_because_of_dead_nodes() -> None:
    async with World().node() as node:
        await opened(node, item("s1", "one"), item("s2", "two"), item("s3", "three", boot="dead"))
        await opened(node, item("s4", "four"))
        (refused,) = await node.sessions.open([item("s5", "five")], ["b1"])
        assert isinstance(refused, Overloaded)
        assert refused.retry_after_ms == 60_000
        assert len(await opened(node, item("s6", "one"))) == 1


async def test_the_limit_of_devices_holds_within_one_batch() -> None:
    async with World().node() as node:
        outcomes = await node.sessions.open([item(f"s{index}", f"device{index}") for index in range(5)], ["b1"])
        assert [isinstance(outcome, Overloaded) for outcome in outcomes] == [False, False, False, True, True]


async def test_closing_removes_only_the_session_named_and_notes_when_the_user_was_seen() -> None:
    world = World()
    async with world.node() as node:
        await opened(node, item("s1"), item("t1", "web"))
        await opened(node, item("s2"))
        world.clock.advance(5)
        await node.sessions.close(
            [
                pb.SessionCloseItem(user="ann", device="phone", session="s1"),
                pb.SessionCloseItem(user="ann", device="web", session="t1"),
            ]
        )
        (found,) = await node.sessions.sessions_of(["ann"])
        assert [session.session for session in found.sessions] == ["s2"]
        assert found.last_seen_ms == world.clock.wall_ms()


async def test_a_user_exists_from_the_first_session_or_the_first_message() -> None:
    world = World()
    async with world.node() as node:
        await opened(node, item("s1"))
        await stored(node, send("ann", "bob", "x"))
        ann, bob, zoe = await node.sessions.users(["ann", "bob", "zoe"])
        assert (ann.exists, bob.exists, zoe.exists) == (True, True, False)
        assert (bob.inbox_head, bob.first_seen_ms) == (1, world.clock.wall_ms())


async def test_notices_to_all_are_unread_from_the_first_session_on() -> None:
    async with World().node() as node:
        notice = pb.StoreItem(conversation="b:all", sender="tidings", kind=2)
        for client_id in ("one", "two"):
            notice.client_id = client_id
            await stored(node, notice)
        (outcome,) = await opened(node, item("s1"))
        assert [(record.conversation, record.head) for record in outcome.large] == [("b:all", 2)]
        notice.client_id = "three"
        await stored(node, notice)
        await opened(node, item("s2"))
        (page,) = await node.lists.pages([pb.ConversationsItem(user="ann")])
        (entry,) = page.entries
        assert (entry.record.conversation, entry.record.head, entry.me.read_seq) == ("b:all", 3, 2)


async def test_notices_to_all_are_not_listed_before_there_is_one() -> None:
    async with World().node() as node:
        (outcome,) = await opened(node, item("s1"))
        assert list(outcome.large) == []
        (page,) = await node.lists.pages([pb.ConversationsItem(user="ann")])
        assert list(page.entries) == []


async def test_of_logins_that_come_together_one_whose_inbox_cannot_be_had_fails_alone() -> None:
    # Room in memory for one inbox: of a batch, only the last one is there when all have been read.
    world = World(limits=Limits(flush_interval_s=1e6, cached_entries_max=1))
    async with world.node() as node:
        items = [item("s1", user="ann"), item("s2", user="bob")]
        outcomes = await node.sessions.open(items, ["b1"])
        failed, there = sorted(outcomes, key=lambda outcome: not isinstance(outcome, TidingsError))
        assert isinstance(failed, Unavailable)
        assert isinstance(there, pb.SessionOpenOutcome)
        assert there.epoch
        assert (await opened(node, items[outcomes.index(failed)]))[0].epoch == there.epoch
