"""Marks: how far members have read and received."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.cursors.writer import DeliveryMark
from services.storage.node import Storage
from tests.unit.storage.nodes import World, change, changed, create, members_of, post, send, stored
from tidings_protocol.ids import slot_of

CHAT = "d:ann|bob"


async def mark(node: Storage, user: str, read: int = 0, delivered: int = 0, *, durable: bool = False) -> pb.MarkOutcome:
    item = pb.MarkItem(conversation=CHAT, user=user, read_seq=read, delivered_seq=delivered, durable=durable)
    (outcome,) = await node.cursors.mark([item])
    return outcome


async def test_a_mark_moves_up_and_what_is_read_is_delivered() -> None:
    async with World().node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(5)))
        first = await mark(node, "bob", read=3)
        assert (first.read_seq, first.delivered_seq, first.moved) == (3, 3, True)
        back = await mark(node, "bob", read=2)
        assert (back.read_seq, back.delivered_seq, back.moved) == (3, 3, False)
        delivered = await mark(node, "bob", delivered=5)
        assert (delivered.read_seq, delivered.delivered_seq, delivered.moved) == (3, 5, True)


async def test_a_mark_does_not_go_beyond_the_head() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "x"))
        outcome = await mark(node, "bob", read=99)
        assert (outcome.read_seq, outcome.delivered_seq) == (1, 1)


async def test_a_durable_mark_is_written_when_it_is_answered_and_another_one_behind() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "x"), send("ann", "bob", "y"))
        await mark(node, "bob", delivered=2)
        assert world.database.members[CHAT]["bob"].delivered_seq == 0
        await mark(node, "bob", read=1, durable=True)
        assert world.database.members[CHAT]["bob"].read_seq == 1
        await node.behind.flush()
        assert world.database.members[CHAT]["bob"].delivered_seq == 2


async def test_a_durable_mark_that_cannot_be_written_says_so() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "x"))
        world.database.faults.away = True
        outcome = await mark(node, "bob", read=1, durable=True)
        assert outcome.fault.code == "UNAVAILABLE"
        world.database.faults.away = False


async def test_sending_moves_the_senders_own_position_also_after_a_crash() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "x"))
        world.database.faults.away = True
    world.database.faults.away = False
    assert world.database.members[CHAT]["ann"].read_seq == 0
    async with world.node() as node:
        (loaded,) = await node.loads.load([pb.LoadItem(conversation=CHAT)])
        assert {member.user: member.read_seq for member in loaded.members} == {"ann": 1, "bob": 0}


async def test_who_is_no_member_of_a_group_may_not_mark_it() -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann"))
        await changed(node, create("g:2", "ann", large=True))
        items = [pb.MarkItem(conversation=key, user="zoe", read_seq=1) for key in ("g:1", "g:2", "g:3", CHAT)]
        outcomes = await node.cursors.mark(items)
        assert [outcome.fault.code for outcome in outcomes] == ["FORBIDDEN", "FORBIDDEN", "NOT_FOUND", ""]
        assert [outcome.fault.message for outcome in outcomes[1:3]] == [
            "you are not a member of g:2: join it, or have an admin add you",
            "there is no group g:3: check its id",
        ]


async def test_a_mark_says_the_version_of_its_group() -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann", large=True))
        (outcome,) = await node.cursors.mark([pb.MarkItem(conversation="g:1", user="ann", read_seq=1)])
        assert (outcome.version, outcome.large_from) == (1, 1)


async def test_everybody_has_a_position_in_the_notices_to_all() -> None:
    async with World().node() as node:
        await stored(node, pb.StoreItem(conversation="b:all", sender="tidings", client_id="n", kind=2))
        (outcome,) = await node.cursors.mark([pb.MarkItem(conversation="b:all", user="ann", read_seq=1, durable=True)])
        assert (outcome.read_seq, outcome.moved) == (1, True)


async def test_a_role_that_changes_while_a_mark_is_written_leaves_the_mark_where_it_is() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create("g:1", "ann", "bob"))
        await stored(node, *(post("g:1", "ann", f"c{number}", 1, ["ann", "bob"]) for number in range(5)))

        async def between(command: str) -> None:
            """The change is decided and not made yet when bob reads, and that is written."""
            if command == "conversations.swap":
                world.database.faults.delay = None
                await node.cursors.mark([pb.MarkItem(conversation="g:1", user="bob", read_seq=4)])
                await node.behind.flush()

        world.database.faults.delay = between
        await changed(node, change("g:1", "ann", "op", 1, roles=[("bob", 2)], notices=[["ann", "bob"]]))
        bob = (await members_of(node, "g:1"))["bob"]
        assert (bob.role, bob.read_seq, bob.delivered_seq) == (2, 4, 4)


async def test_only_what_this_node_owns_is_marked_as_delivered() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "x"), send("ann", "cid", "x"))
        world.hood.owner_of = lambda slot: "two" if slot == slot_of("d:ann|cid") else "one"
        marks = [DeliveryMark("bob", CHAT, 1), DeliveryMark("cid", "d:ann|cid", 1), DeliveryMark("zoe", "g:1", 1)]
        mine, others, nobodys = await node.cursors.deliver(marks)
        assert mine is not None
        assert (mine.delivered_seq, mine.moved) == (1, True)
        assert (others, nobodys) == (None, None)
