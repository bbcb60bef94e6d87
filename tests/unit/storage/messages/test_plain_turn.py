"""Which rows are plain, and what is done with them: one insert, or nothing that anybody relies on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.inboxes.numbering import Append
from services.storage.limits import ENTRIES_MAX, Limits
from services.storage.messages.plain_turn import PlainTurn
from services.storage.node import Storage
from services.storage.repository.contract import Inserted
from services.storage.repository.records import SYSTEM, InboxEntry, StoredMessage
from tests.unit.storage.nodes import World, change, create, inbox_of, post, rows_of, send, stored, stored_rows
from tidings_protocol.errors import Overloaded, Unavailable
from tidings_protocol.ids import SLOTS, slot_of

CHAT = "d:ann|bob"
Outcome = pb.StoreOutcome


def plan(node: Storage, *items: pb.StoreItem, taken: Sequence[str] = ()) -> list[int]:
    """The places of the rows that are not plain."""
    return PlainTurn(node.conversations._plain, taken).plan(rows_of(items))


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
        node.inboxes.doubt(["bob"])
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


async def test_a_user_who_stands_twice_among_the_recipients_has_one_entry() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "warm"))
        twice = send("ann", "bob", "1")
        twice.recipients.append("ann")
        [told] = await stored_rows(node, twice)
        assert list(told.numbers) == [2, 2, 2]
        assert await inbox_of(node, "ann") == [(1, CHAT, 1), (2, CHAT, 2)]


async def test_a_notice_that_names_an_entry_is_refused_as_on_the_general_way() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "warm"))
        notice = send("ann", "bob", "1", reply_to=1)
        notice.kind = SYSTEM
        [told] = await stored_rows(node, notice)
        assert told.status == Outcome.NO_SUCH_REPLY


class Held:
    """Holds the first command of this name before it does anything, until it may go on."""

    def __init__(self, world: World, command: str) -> None:
        self._command = command
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        world.database.faults.delay = self._wait

    async def _wait(self, command: str) -> None:
        if command == self._command and not self.reached.is_set():
            self.reached.set()
            await self.go_on.wait()


async def test_an_inbox_that_is_forgotten_and_read_while_its_entry_is_on_its_way_has_it() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "warm"))
        held = Held(world, "log.insert")
        rows = asyncio.create_task(stored_rows(node, send("ann", "bob", "1")))
        await held.reached.wait()
        node.inboxes.doubt(["bob"])
        read = asyncio.create_task(node.inboxes.touch(["bob"]))
        await asyncio.sleep(0.01)
        held.go_on.set()
        await asyncio.gather(rows, read)
        assert await inbox_of(node, "bob") == [(1, CHAT, 1), (2, CHAT, 2)]
        found = await node.inboxes.touch(["bob"])
        assert found["bob"].head == 2  # type: ignore[union-attr]


async def test_an_inbox_that_is_forgotten_and_read_while_rows_wait_for_their_turn_has_their_entries() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, inbox_lanes=2))
    async with world.node() as node:
        await stored(node, send("ann", "bob", "warm"), send("cid", "dan", "warm"))
        held = Held(world, "inbox.insert")
        append = asyncio.create_task(node.inboxes.append([Append("cid", "d:bob|cid", 1, 1)]))
        await held.reached.wait()
        rows = asyncio.create_task(stored_rows(node, send("ann", "bob", "1")))
        await asyncio.sleep(0.01)
        node.inboxes.doubt(["bob"])
        read = asyncio.create_task(node.inboxes.touch(["bob"]))
        await asyncio.sleep(0.01)
        held.go_on.set()
        await asyncio.gather(append, rows, read)
        found = await node.inboxes.touch(["bob"])
        assert found["bob"].head == 2  # type: ignore[union-attr]


async def test_an_owner_that_came_while_rows_were_written_is_told_to_read_again() -> None:
    world = World()
    async with world.node("one") as one, world.node("two") as two:
        await stored(one, send("ann", "bob", "warm"))
        held = Held(world, "log.insert")
        rows = asyncio.create_task(stored_rows(one, send("ann", "bob", "1")))
        await held.reached.wait()
        world.hood.owner_of = lambda _: "two"
        for node in (one, two):
            node.ring_changed(frozenset(range(SLOTS)))
        await two.conversations.get([CHAT])
        await two.inboxes.touch(["bob"])
        held.go_on.set()
        await rows
        await asyncio.sleep(0.01)  # it is told by a task of its own
        assert (await two.conversations.get([CHAT]))[CHAT].head == 2  # type: ignore[union-attr]
        assert (await two.inboxes.touch(["bob"]))["bob"].head == 2  # type: ignore[union-attr]


async def test_a_call_of_many_entries_takes_several_turns_so_that_none_holds_up_others_for_long() -> None:
    world = World()
    async with world.node() as node:
        everybody = [f"u{number:03}" for number in range(200)]
        await node.conversations.change([create("g:1", *everybody)])
        version = (await node.conversations.get(["g:1"]))["g:1"].document.version  # type: ignore[union-attr]
        sizes: list[int] = []
        insert = node.conversations._repository.log.insert

        async def note(messages: Sequence[StoredMessage], entries: Sequence[InboxEntry]) -> Inserted:
            sizes.append(len(messages) + len(entries))
            return await insert(messages, entries)

        node.conversations._repository.log.insert = note  # type: ignore[method-assign]
        posts = [post("g:1", "u000", f"{number}", version, everybody) for number in range(50)]
        told = await stored_rows(node, *posts)
        assert [each.seq for each in told] == list(range(2, 52))
        assert [each.numbers[7] for each in told] == list(range(2, 52))
        assert sum(sizes) == 50 * 201
        assert max(sizes) <= 1.1 * ENTRIES_MAX < 5000
