"""Messages: numbers without holes, and retries that change nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.inboxes.numbering import Append
from services.storage.inboxes.writer import Number
from services.storage.loading.documents import cached_from
from services.storage.messages.write_round import WriteRound
from services.storage.node import Storage
from tests.unit.storage.nodes import World, change, changed, create, inbox_of, post, send, stored
from tidings_protocol.errors import Overloaded, TidingsError, Unavailable

Outcome = pb.StoreOutcome
CHAT = "d:ann|bob"


async def test_messages_of_a_conversation_are_numbered_from_one_without_gaps() -> None:
    async with World().node() as node:
        outcomes = await stored(node, *(send("ann", "bob", f"c{index}") for index in range(5)))
        assert [outcome.seq for outcome in outcomes] == [1, 2, 3, 4, 5]
        assert {outcome.status for outcome in outcomes} == {Outcome.STORED}


async def test_each_recipient_gets_the_next_number_of_the_own_inbox() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "cid", "x"))
        outcomes = await stored(node, send("ann", "bob", "y"), send("bob", "ann", "z"))
        assert [list(outcome.numbers) for outcome in outcomes] == [[2, 1], [2, 3]]
        assert await inbox_of(node, "ann") == [(1, "d:ann|cid", 1), (2, CHAT, 1), (3, CHAT, 2)]


async def test_a_retry_gives_the_first_number_time_and_content() -> None:
    world = World()
    async with world.node() as node:
        (first,) = await stored(node, send("ann", "bob", "same", "first"))
        world.clock.advance(60)
        (again,) = await stored(node, send("ann", "bob", "same", "second"))
        assert again.status == Outcome.DUPLICATE
        assert (again.seq, again.time_ms, again.numbers) == (first.seq, first.time_ms, first.numbers)
        assert again.content == send("ann", "bob", "same", "first").content
        assert len(world.database.messages[CHAT]) == 1


async def test_a_retry_within_one_batch_is_one_message() -> None:
    async with World().node() as node:
        outcomes = await stored(
            node, send("ann", "bob", "same"), send("ann", "bob", "next"), send("ann", "bob", "same")
        )
        assert [outcome.seq for outcome in outcomes] == [1, 2, 1]
        assert [outcome.status for outcome in outcomes] == [Outcome.STORED, Outcome.STORED, Outcome.DUPLICATE]
        assert await inbox_of(node, "bob") == [(1, CHAT, 1), (2, CHAT, 2)]


async def test_a_retry_on_another_node_long_after_gives_the_first_number() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "same"), send("ann", "bob", "other"))
    async with world.node() as node:
        outcomes = await stored(
            node, send("ann", "bob", "new"), send("ann", "bob", "same"), send("ann", "bob", "newer")
        )
        assert [outcome.seq for outcome in outcomes] == [3, 1, 4]
        assert outcomes[1].status == Outcome.DUPLICATE
        assert list(outcomes[1].numbers) == [1, 1]


async def test_time_does_not_go_back_within_a_conversation() -> None:
    world = World()
    async with world.node() as node:
        (first,) = await stored(node, send("ann", "bob", "x"))
        world.clock.jump(-3_600_000)
        (second,) = await stored(node, send("ann", "bob", "y"))
        assert second.time_ms == first.time_ms


async def test_a_reply_needs_a_message_to_reply_to() -> None:
    async with World().node() as node:
        items = [send("ann", "bob", "a"), send("ann", "bob", "b", reply_to=1), send("ann", "bob", "c", reply_to=3)]
        outcomes = await stored(node, *items, send("ann", "bob", "d", reply_to=2))
        assert [outcome.status for outcome in outcomes] == [
            Outcome.STORED,
            Outcome.STORED,
            Outcome.NO_SUCH_REPLY,
            Outcome.STORED,
        ]
        assert outcomes[3].seq == 3


async def test_one_may_write_to_oneself() -> None:
    async with World().node() as node:
        (outcome,) = await stored(node, send("ann", "ann", "note"))
        assert list(outcome.numbers) == [1]
        assert await inbox_of(node, "ann") == [(1, "d:ann|ann", 1)]


async def position_of(node: Storage, user: str, chat: str = CHAT) -> tuple[int, int]:
    """(read, delivered)"""
    (loaded,) = await node.loads.load([pb.LoadItem(conversation=chat)])
    me = next(member for member in loaded.members if member.user == user)
    return me.read_seq, me.delivered_seq


async def test_sending_leaves_the_position_where_it_is_while_something_before_is_held_by_no_device() -> None:
    async with World().node() as node:
        first, second, third = await stored(
            node, send("ann", "bob", "a"), send("ann", "bob", "b"), send("bob", "ann", "c")
        )
        assert (first.read_over, second.read_over, third.read_over) == (False, False, False)
        assert await position_of(node, "ann") == (2, 2)
        assert await position_of(node, "bob") == (0, 0)
        (fourth,) = await stored(node, send("bob", "ann", "d"))
        assert (fourth.read_over, await position_of(node, "bob")) == (False, (0, 0))


async def test_sending_moves_the_position_past_what_a_device_holds_and_says_that_it_was_not_read() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "a"), send("ann", "bob", "b"))
        await node.acknowledgements.acknowledge([pb.AcknowledgeItem(user="bob", device="phone", number=2)], mark=True)
        assert await position_of(node, "bob") == (0, 2)
        first, second = await stored(node, send("bob", "ann", "c"), send("bob", "ann", "d"))
        assert (first.read_over, second.read_over) == (True, False)
        assert await position_of(node, "bob") == (4, 4)


async def test_ones_own_messages_are_no_reason_to_stay_behind() -> None:
    """Bob wrote before his device said that it holds what was there; then it says so."""
    async with World().node() as node:
        await stored(node, send("ann", "bob", "a"), send("bob", "ann", "b"))
        await node.acknowledgements.acknowledge([pb.AcknowledgeItem(user="bob", device="phone", number=1)], mark=True)
        (late,) = await stored(node, send("bob", "ann", "c"))
        assert (late.read_over, await position_of(node, "bob")) == (True, (3, 3))


async def test_overloaded_is_never_answered_for_what_is_stored_already() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "warm"))
        append = node.inboxes.append

        async def full(appends: Sequence[Append]) -> list[Number]:
            return [Overloaded("this node has too much to do", 70)] * len(appends)

        node.inboxes.append = full  # type: ignore[method-assign]
        (message,) = await stored(node, send("ann", "bob", "x"))
        group = await changed(node, create("g:1", "ann", "bob"))
        assert {(each.fault.code, each.fault.retry_after_ms) for each in (message, group)} == {("UNAVAILABLE", 70)}
        (untouched,) = await node.loads.load([pb.LoadItem(conversation=CHAT)])
        assert untouched.fault.code == "OVERLOADED", "loading again did nothing new"
        node.inboxes.append = append  # type: ignore[method-assign]
        (again,) = await stored(node, send("ann", "bob", "x"))
        assert (again.status, again.seq) == (Outcome.DUPLICATE, 2)


async def test_a_lost_answer_is_settled_before_anything_else_is_written() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "warm"))
        world.database.faults.lose_answers(1)
        outcomes = await stored(node, send("ann", "bob", "x"), send("ann", "bob", "y"))
        assert [outcome.seq for outcome in outcomes] == [2, 3]
        assert await inbox_of(node, "bob") == [(1, CHAT, 1), (2, CHAT, 2), (3, CHAT, 3)]


async def test_an_insert_that_broke_off_in_the_middle_leaves_no_hole() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "warm"), send("ann", "cid", "warm"))
        world.database.faults.cut(2)
        items = [send("ann", "bob", "x"), send("ann", "cid", "y"), send("ann", "bob", "z"), send("ann", "cid", "w")]
        assert [outcome.seq for outcome in await stored(node, *items)] == [2, 2, 3, 3]
        assert [len(await inbox_of(node, user)) for user in ("ann", "bob", "cid")] == [6, 3, 3]


async def test_while_the_database_is_away_sends_are_answered_with_a_time_to_retry_and_then_work_again() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "warm"))
        world.database.faults.away = True
        (refused,) = await node.conversations.store([send("ann", "bob", "x")])
        assert isinstance(refused, Unavailable)
        assert refused.retry_after_ms > 0
        world.database.faults.away = False
        assert [outcome.seq for outcome in await stored(node, send("ann", "bob", "x"))] == [2]


async def test_a_message_whose_entries_could_not_be_written_is_not_acknowledged_and_its_retry_delivers_it() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "warm"))

        async def no_inboxes(command: str) -> None:
            if command == "inbox.insert":
                raise Unavailable("away")

        world.database.faults.delay = no_inboxes
        (outcome,) = await node.conversations.store([send("ann", "bob", "x")])
        assert isinstance(outcome, Outcome)
        assert outcome.status == Outcome.FAILED
        assert outcome.fault.code == "UNAVAILABLE"
        world.database.faults.delay = None
        (again,) = await stored(node, send("ann", "bob", "x"))
        assert (again.status, again.seq, list(again.numbers)) == (Outcome.DUPLICATE, 2, [2, 2])
        assert await inbox_of(node, "bob") == [(1, CHAT, 1), (2, CHAT, 2)]


async def test_of_two_nodes_that_write_one_conversation_the_loser_renumbers() -> None:
    world = World()
    async with world.node("one") as one, world.node("two") as two:
        await stored(one, send("ann", "bob", "a"))
        await stored(two, send("ann", "bob", "b"), send("bob", "ann", "c"))
        outcomes = await stored(one, send("ann", "bob", "d"), send("ann", "bob", "b"), send("ann", "bob", "e"))
        assert [outcome.seq for outcome in outcomes] == [4, 2, 5]
        assert sorted(world.database.messages[CHAT]) == [1, 2, 3, 4, 5]
        assert [seq for _, _, seq in await inbox_of(two, "bob")] == [1, 2, 3, 4, 5]


async def test_a_group_message_needs_the_present_version() -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann", "bob"))
        items = [post("g:1", "ann", "x", 1, ["ann", "bob"]), post("g:1", "ann", "y", 2), post("g:2", "ann", "z", 1)]
        outcomes = await stored(node, *items)
        assert [outcome.status for outcome in outcomes] == [Outcome.STORED, Outcome.STALE, Outcome.STALE]


async def test_a_broadcast_has_no_members_and_no_entries() -> None:
    async with World().node() as node:
        item = pb.StoreItem(conversation="b:all", sender="tidings", client_id="n", content=b"x", kind=2)
        (outcome,) = await stored(node, item)
        assert (outcome.seq, list(outcome.numbers)) == (1, [])


@pytest.mark.parametrize("faults", [0, 1, 2, 3, 4, 5, 6])
async def test_whatever_command_fails_a_retry_completes_the_first_message(faults: int) -> None:
    world = World()
    async with world.node() as node:
        seen = 0

        async def fail_one(_: str) -> None:
            nonlocal seen
            seen += 1
            if seen == faults + 1:
                raise Unavailable("just this once")

        world.database.faults.delay = fail_one
        outcome: object = None
        for _ in range(5):
            (outcome,) = await node.conversations.store([send("ann", "bob", "x")])
            assert not isinstance(outcome, TidingsError) or isinstance(outcome, Unavailable)
            if not isinstance(outcome, TidingsError) and outcome.status != Outcome.FAILED:
                break
        assert isinstance(outcome, Outcome)
        assert (outcome.seq, list(outcome.numbers)) == (1, [1, 1])
        assert await inbox_of(node, "ann") == [(1, CHAT, 1)]


async def test_what_comes_after_a_change_waits_for_the_next_round_and_quiet_joins_go_together() -> None:
    async with World().node() as node:
        group, chat = cached_from("g:1", None, ()), cached_from(CHAT, None, ())
        joins = [change("g:1", user, "join", 0, joins=[user], keep_version=True) for user in ("bob", "cid")]
        work = WriteRound(node.conversations._rounds)
        assert not work
        assert work.add(0, post("g:1", "ann", "before", 0), group)
        assert all(work.add(index, join, group) for index, join in enumerate(joins, start=1))
        assert not work.add(3, post("g:1", "ann", "after", 0), group)
        assert not work.add(4, change("g:1", "ann", "op", 0, removed=["bob"]), group)
        assert work.add(5, send("ann", "bob", "x"), chat)
        assert work
        assert work.conversations == {"g:1", CHAT}


async def test_a_round_says_what_follows_for_memory_and_does_nothing_to_it() -> None:
    async with World().node() as node:
        chat = cached_from(CHAT, None, ())
        work = WriteRound(node.conversations._rounds)
        work.add(0, send("ann", "bob", "x"), chat)
        result = await work.run()
        assert isinstance(stored_ := result.outcomes[0], Outcome)
        assert stored_.seq == 1
        assert (result.kept, result.dropped, result.dirty) == ({}, set(), [chat])
        assert (chat.settled, node.conversations.cached, node.behind.waiting) == (1, 0, 0)


async def test_a_round_of_which_nothing_is_known_drops_all_its_conversations() -> None:
    world = World()
    async with world.node() as node:
        work = WriteRound(node.conversations._rounds)
        work.add(0, send("ann", "bob", "x"), cached_from(CHAT, None, ()))
        work.add(1, post("g:1", "ann", "x", 0), cached_from("g:1", None, ()))
        world.database.faults.away = True
        result = await work.run()
        world.database.faults.away = False
        assert [type(outcome) for outcome in result.outcomes.values()] == [Unavailable, Unavailable]
        assert (result.kept, result.dropped) == ({}, {CHAT, "g:1"})
