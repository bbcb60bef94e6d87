"""Which rows are plain, and what is done with them: one insert, or nothing that anybody relies on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.inboxes.numbering import Append
from services.storage.messages.plain_turn import PlainTurn
from services.storage.messages.store_call import StoreCall
from services.storage.node import Storage
from tests.unit.storage.nodes import World, change, columns_of, create, inbox_of, post, send, stored, stored_rows
from tidings_protocol.errors import Overloaded, Unavailable
from tidings_protocol.ids import slot_of

CHAT = "d:ann|bob"
Outcome = pb.StoreOutcome


def plan(node: Storage, *items: pb.StoreItem, taken: Sequence[str] = ()) -> list[int]:
    """The places of the rows that are not plain."""
    return PlainTurn(node.conversations._plain, taken).plan(StoreCall(columns_of(items)))


def commands(world: World) -> list[str]:
    """The inserts from now on, each when it begins and when it ends."""
    seen: list[str] = []

    async def note(command: str) -> None:
        if command.endswith("insert"):
            seen.append(command)

    world.database.faults.delay = note
    return seen


async def test_rows_of_warm_conversations_take_one_insert() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "warm"), send("ann", "cid", "warm"))
        seen = commands(world)
        told = await stored_rows(node, send("ann", "bob", "1"), send("cid", "ann", "1"), send("ann", "bob", "2"))
        assert seen == ["log.insert", "log.insert"], "it begins and it ends"
        assert [(each.status, each.seq, list(each.numbers)) for each in told] == [
            (Outcome.STORED, 2, [3, 2]),
            (Outcome.STORED, 2, [2, 4]),
            (Outcome.STORED, 3, [5, 3]),
        ]
        assert await inbox_of(node, "bob") == [(1, CHAT, 1), (2, CHAT, 2), (3, CHAT, 3)]
        cached = node.conversations.memory.peek(CHAT)
        assert cached is not None
        assert (cached.head, cached.settled) == (3, 3)


async def test_what_is_plain_and_what_is_not() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "warm"))
        await node.conversations.change([create("g:1", "ann", "bob")])
        version = (await node.conversations.get(["g:1"]))["g:1"].document.version  # type: ignore[union-attr]
        everybody = ["ann", "bob"]
        assert plan(node, send("ann", "bob", "x"), post("g:1", "ann", "x", version, everybody)) == []
        assert plan(node, send("ann", "bob", "warm")) == [0], "a client id that is known"
        assert plan(node, send("ann", "bob", "x"), send("ann", "bob", "x")) == [1], "the same twice"
        assert plan(node, send("ann", "cid", "x")) == [0], "a conversation that is not in memory"
        assert plan(node, post("g:1", "ann", "x", version + 1, everybody)) == [0], "another version"
        assert plan(node, send("ann", "bob", "x", reply_to=1)) == []
        assert plan(node, send("ann", "bob", "x", reply_to=2)) == [0], "no such message"
        assert plan(node, send("ann", "bob", "x"), send("ann", "bob", "y", reply_to=2)) == [], "the one before it"
        assert plan(node, send("ann", "bob", "x"), taken=[CHAT]) == [0], "something else is done there"
        after = plan(
            node, send("ann", "bob", "warm"), send("ann", "bob", "x"), post("g:1", "bob", "x", version, everybody)
        )
        assert after == [0, 1], "what comes after what is not plain, in its conversation"


async def test_an_inbox_that_is_not_in_memory_is_not_plain_and_one_of_another_node_is() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "warm"))
        node.inboxes.drop(["bob"])
        assert plan(node, send("ann", "bob", "x")) == [0]
        bob = slot_of("bob")
        world.hood.owner_of = lambda slot: "two" if slot == bob else "one"
        assert plan(node, send("ann", "bob", "x")) == []


async def test_entries_of_another_node_s_users_are_appended_there() -> None:
    world = World()
    bob = slot_of("bob")
    world.hood.owner_of = lambda slot: "two" if slot == bob else "one"
    async with world.node("one") as one, world.node("two") as two:
        await stored(one, send("ann", "bob", "warm"))
        told = await stored_rows(one, send("ann", "bob", "1"), send("bob", "ann", "2"))
        assert [list(each.numbers) for each in told] == [[2, 2], [3, 3]]
        assert await inbox_of(two, "bob") == [(1, CHAT, 1), (2, CHAT, 2), (3, CHAT, 3)]


async def test_a_row_whose_far_entry_fails_has_failed_alone_and_is_settled_by_the_next_load() -> None:
    world = World()
    bob = slot_of("bob")
    world.hood.owner_of = lambda slot: "two" if slot == bob else "one"
    async with world.node("one") as one, world.node("two"):
        await stored(one, send("ann", "bob", "warm"), send("ann", "cid", "warm"))
        append = one.conversations._fanout.append

        async def no_bob(appends: Sequence[Append]) -> list[int | Unavailable | Overloaded]:
            assert {each.user for each in appends} == {"bob"}
            return [Overloaded("full")] * len(appends)

        one.conversations._fanout.append = no_bob  # type: ignore[method-assign,assignment]
        told = await stored_rows(one, send("ann", "bob", "1"), send("ann", "cid", "1"))
        assert [each.status for each in told] == [Outcome.FAILED, Outcome.STORED]
        assert told[0].fault.code == "UNAVAILABLE", "it may be stored"
        assert one.conversations.memory.peek(CHAT) is None
        one.conversations._fanout.append = append  # type: ignore[method-assign]
        [again] = await stored_rows(one, send("ann", "bob", "1"))
        assert (again.status, again.seq, list(again.numbers)) == (Outcome.DUPLICATE, 2, [3, 2])


@pytest.mark.parametrize("trouble", ["refuse", "lose", "cut 1", "cut 3"])
async def test_an_insert_that_fails_or_of_which_nothing_is_known_is_done_the_general_way(trouble: str) -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "warm"))
        faults = world.database.faults
        if trouble == "refuse":
            faults.refuse(1)
        elif trouble == "lose":
            faults.lose_answers(1)
        else:
            faults.cut(int(trouble[-1]))
        told = await stored_rows(node, send("ann", "bob", "1"), send("bob", "ann", "2"))
        assert [each.seq for each in told] == [2, 3]
        assert [list(each.numbers) for each in told] == [[2, 2], [3, 3]]
        assert {each.status for each in told} <= {Outcome.STORED, Outcome.DUPLICATE}
        assert await inbox_of(node, "bob") == [(1, CHAT, 1), (2, CHAT, 2), (3, CHAT, 3)]


async def test_a_number_that_another_node_gave_is_found_out() -> None:
    world = World()
    world.hood.owner_of = lambda _: ""
    async with world.node("one") as one, world.node("two") as two:
        await stored(one, send("ann", "bob", "a"))
        await stored(two, send("ann", "bob", "b"), send("ann", "cid", "b"))
        told = await stored_rows(one, send("ann", "bob", "c"), send("ann", "bob", "d"))
        assert [(each.seq, list(each.numbers)) for each in told] == [(3, [4, 3]), (4, [5, 4])]
        [told_two] = await stored_rows(two, send("ann", "cid", "e"))
        assert (told_two.seq, list(told_two.numbers)) == (2, [6, 2])


async def test_rows_wait_for_what_an_inbox_lane_writes_to_the_same_inboxes() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "warm"))
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def wait(command: str) -> None:
            if command == "inbox.insert":
                reached.set()
                await go_on.wait()

        world.database.faults.delay = wait
        append = asyncio.create_task(node.inboxes.append([Append("bob", "d:bob|cid", 1, 1)]))
        await reached.wait()
        rows = asyncio.create_task(stored_rows(node, send("ann", "bob", "1")))
        await asyncio.sleep(0.01)
        go_on.set()
        assert await append == [2]
        [told] = await rows
        assert list(told.numbers) == [2, 3]


async def test_a_defect_in_the_plain_way_is_no_row_s_failure() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "warm"))
        recent = node.conversations._recent
        add = recent.add

        def once(*arguments: object) -> None:
            recent.add = add  # type: ignore[method-assign]
            raise ZeroDivisionError

        recent.add = once  # type: ignore[method-assign,assignment]
        [told] = await stored_rows(node, send("ann", "bob", "1"))
        assert (told.seq, list(told.numbers)) == (2, [2, 2])


async def test_a_change_and_the_rows_beside_it_keep_their_order() -> None:
    async with World().node() as node:
        await node.conversations.change([create("g:1", "ann", "bob")])
        version = (await node.conversations.get(["g:1"]))["g:1"].document.version  # type: ignore[union-attr]
        leaves = change("g:1", "bob", "leave", version, removed=["bob"])
        changed, told = await asyncio.gather(
            node.conversations.change([leaves]),
            stored_rows(node, post("g:1", "ann", "x", version, ["ann", "bob"])),
        )
        assert [each.status for each in changed] == [pb.ChangeOutcome.DONE]  # type: ignore[union-attr]
        assert [each.status for each in told] == [Outcome.STALE]
