"""What devices hold, and which messages are delivered by that."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.cursors.acknowledgements import DEVICES_MAX
from services.storage.limits import Limits
from services.storage.node import Storage
from services.storage.repository.records import InboxEntry
from tests.unit.storage.nodes import World, send, stored
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import slot_of

CHAT = "d:ann|bob"


async def mark(node: Storage, user: str, read: int = 0, delivered: int = 0, *, durable: bool = False) -> pb.MarkOutcome:
    item = pb.MarkItem(conversation=CHAT, user=user, read_seq=read, delivered_seq=delivered, durable=durable)
    (outcome,) = await node.cursors.mark([item])
    return outcome


async def acknowledge(node: Storage, device: str, number: int) -> dict[str, int]:
    """As logic does it: until all is marked and noted."""
    news: dict[str, int] = {}
    item = pb.AcknowledgeItem(user="bob", device=device, number=number)
    while True:
        (outcome,) = await node.acknowledgements.acknowledge([item])
        news.update({each.conversation: each.seq for each in outcome.delivered})
        if not outcome.upto:
            return news
        assert outcome.upto > item.marked
        item.marked = outcome.upto


async def marked(node: Storage, number: int) -> list[pb.AcknowledgeOutcome.Delivered]:
    item = pb.AcknowledgeItem(user="bob", device="phone", number=number)
    (outcome,) = await node.acknowledgements.acknowledge([item], mark=True)
    return list(outcome.delivered)


async def test_an_acknowledgement_delivers_what_no_device_held_before() -> None:
    world = World(limits=Limits(flush_interval_s=1e6, inbox_tail=8))
    async with world.node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(20)))
        await stored(node, send("cid", "bob", "x"))
        assert await acknowledge(node, "phone", 3) == {CHAT: 3}
        assert await acknowledge(node, "web", 2) == {}
        assert await acknowledge(node, "web", 5) == {CHAT: 5}
        assert await acknowledge(node, "phone", 999) == {CHAT: 20, "d:bob|cid": 1}
        assert await acknowledge(node, "phone", 999) == {}
    assert world.database.devices["bob"] == {"phone": 21, "web": 5}
    async with world.node() as node:
        assert await acknowledge(node, "tv", 21) == {}


async def test_one_acknowledgement_of_thousands_of_entries_delivers_every_conversation_in_steps() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "first"))
        inbox = world.database.inboxes["bob"]
        for number in range(2, 5003):
            inbox[number] = InboxEntry("bob", number, "d:bob|dan", number - 1, 1)
        node.inboxes.drop_slots(frozenset([slot_of("bob")]))
        (first,) = await node.acknowledgements.acknowledge([pb.AcknowledgeItem(user="bob", device="tv", number=5002)])
        assert (first.upto, [each.seq for each in first.delivered]) == (2000, [1, 1999])
        assert await acknowledge(node, "tv", 5002) == {CHAT: 1, "d:bob|dan": 5001}
        assert await acknowledge(node, "tv", 5002) == {}


async def test_what_could_not_be_marked_is_told_again_until_it_is() -> None:
    """The number is noted only then, whatever happens to the one who had to see to it."""
    world = World(limits=Limits(flush_interval_s=1e6, inbox_tail=8))
    async with world.node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(3)))
        item = pb.AcknowledgeItem(user="bob", device="phone", number=2)
        for _ in range(2):
            (outcome,) = await node.acknowledgements.acknowledge([item])
            assert (outcome.upto, [each.seq for each in outcome.delivered]) == (2, [2])
        item.number = 3
        (outcome,) = await node.acknowledgements.acknowledge([item])
        assert (outcome.upto, [each.seq for each in outcome.delivered]) == (3, [3])
        item.marked = 3
        (outcome,) = await node.acknowledgements.acknowledge([item])
        assert (outcome.upto, list(outcome.delivered)) == (0, [])
    assert world.database.devices["bob"] == {"phone": 3}


@pytest.mark.parametrize("cold", [False, True])
async def test_an_acknowledgement_marks_what_its_node_owns_and_tells_what_moved(cold: bool) -> None:
    world = World()
    async with world.node() as node:
        await stored(node, *(send("ann", "bob", f"c{index}") for index in range(3)))
        if cold:
            node.conversations.memory.drop_slots(frozenset([slot_of(CHAT)]))
        (news,) = await marked(node, 2)
        assert (news.conversation, news.seq) == (CHAT, 2)
        assert (news.mark.moved, news.mark.delivered_seq, news.mark.read_seq) == (True, 2, 0)
        assert not (await mark(node, "bob", delivered=2)).moved
        await mark(node, "bob", delivered=3)
        assert await marked(node, 3) == [], "it is news of the inbox, but moved nothing"
        await stored(node, send("bob", "ann", "mine"))
        assert await marked(node, 4) == [], "what one sent oneself was there before"


async def test_what_another_node_owns_is_told_and_not_marked() -> None:
    world = World()
    world.hood.owner_of = lambda slot: "two" if slot == slot_of(CHAT) else "one"
    async with world.node("one") as one, world.node("two") as two:
        await stored(two, send("ann", "bob", "a"))
        await stored(one, send("cid", "bob", "b"))
        mine, theirs = sorted(await marked(one, 2), key=lambda news: news.conversation == CHAT)
        assert (mine.conversation, mine.mark.moved) == ("d:bob|cid", True)
        assert (theirs.conversation, theirs.seq, theirs.HasField("mark")) == (CHAT, 1, False)
        assert (await mark(two, "bob", delivered=1)).moved


async def test_what_could_not_be_marked_along_is_left_to_whoever_asked() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        node.conversations.memory.drop_slots(frozenset([slot_of(CHAT)]))

        async def no_conversations(command: str) -> None:
            if command.startswith("conversation"):
                raise Unavailable("away")

        world.database.faults.delay = no_conversations
        (news,) = await marked(node, 1)
        assert (news.conversation, news.seq, news.HasField("mark")) == (CHAT, 1, False)
        world.database.faults.delay = None
        assert (await mark(node, "bob", delivered=1)).moved


async def test_of_a_user_with_very_many_devices_some_are_forgotten_and_nothing_is_lost_by_that() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "x"))
        for number in range(DEVICES_MAX + 5):
            await node.acknowledgements.acknowledge(
                [pb.AcknowledgeItem(user="bob", device=f"d{number}", number=1)], mark=True
            )
        inbox = node.inboxes.peek("bob")
        assert inbox is not None
        assert (len(inbox.devices), inbox.held) == (5, 1)
        await node.behind.flush()
        assert len(world.database.devices["bob"]) == DEVICES_MAX + 5
