"""One turn of the store lane: rows, messages, changes and loads of one batch."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.telemetry import metrics
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.store_turn import Forget, StoreTurns, Touch
from tests.unit.storage.nodes import World, change, create, outcomes_of, post, rows_of, send, stored, stored_rows

CHAT = "d:ann|bob"


async def test_a_turn_does_all_kinds_of_work_and_each_has_its_outcome() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "warm"))
        turns: StoreTurns = node.conversations._turns
        items = [send("ann", "bob", "1"), send("ann", "cid", "1"), send("ann", "bob", "warm")]
        rows, touch = rows_of(items), Touch("d:bob|cid")
        told = await turns.handle([rows, touch, send("bob", "ann", "2"), create("g:1", "ann")])
        assert told[0] is rows
        outcomes = outcomes_of(items, rows.call.answer())
        assert [(each.status, each.seq) for each in outcomes] == [
            (pb.StoreOutcome.STORED, 2),
            (pb.StoreOutcome.STORED, 1),
            (pb.StoreOutcome.DUPLICATE, 1),
        ]
        assert isinstance(told[1], CachedConversation)
        assert isinstance(told[2], pb.StoreOutcome)
        assert told[2].seq == 3
        assert isinstance(told[3], pb.ChangeOutcome)


async def test_rows_keep_the_order_of_the_batch_with_what_is_done_beside_them() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "warm"))
        await node.conversations.change([create("g:1", "ann", "bob")])
        group = (await node.conversations.get(["g:1"]))["g:1"]
        assert isinstance(group, CachedConversation)
        version = group.document.version
        first = [post("g:1", "ann", "a", version, ["ann", "bob"]), send("ann", "bob", "a")]
        last = [post("g:1", "ann", "b", version, ["ann", "bob"]), send("ann", "bob", "b")]
        parts = rows_of(first), rows_of(last)
        leave = change("g:1", "bob", "leave", version, removed=["bob"])
        await node.conversations._turns.handle([parts[0], leave, parts[1]])
        statuses = [
            [each.status for each in outcomes_of(items, part.call.answer())]
            for items, part in zip((first, last), parts, strict=True)
        ]
        assert statuses == [
            [pb.StoreOutcome.STORED, pb.StoreOutcome.STORED],
            [pb.StoreOutcome.STALE, pb.StoreOutcome.STORED],
        ]
        assert [each.call.seqs[1] for each in parts] == [2, 3]


async def test_what_is_to_be_forgotten_is_read_again_by_the_rows_of_the_same_turn() -> None:
    world = World()
    world.hood.owner_of = lambda _: ""
    async with world.node("one") as one, world.node("two") as two:
        await stored(one, send("ann", "bob", "a"))
        await stored(two, send("ann", "bob", "b"))
        rows = rows_of([send("ann", "bob", "c")])
        await one.conversations._turns.handle([rows, Forget(CHAT)])
        assert (list(rows.call.seqs), list(rows.call.unusual)) == ([3], [])


async def test_rows_are_counted_by_the_way_they_went_also_those_of_an_insert_that_failed() -> None:
    def counted() -> list[float]:
        return [metrics.STORE_ROWS.labels(way)._value.get() for way in ("plain", "general")]

    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "warm"))
        before = counted()
        await stored_rows(node, send("ann", "bob", "1"), send("ann", "bob", "2"), send("ann", "cid", "1"))
        assert [after - each for after, each in zip(counted(), before, strict=True)] == [2, 1]
        world.database.faults.lose_answers(1)
        await stored_rows(node, send("ann", "bob", "3"), send("ann", "bob", "4"))
        assert [after - each for after, each in zip(counted(), before, strict=True)] == [2, 3]
