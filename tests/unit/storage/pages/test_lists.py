"""A user's conversations, by pages."""

from __future__ import annotations

from collections.abc import Collection

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.limits import Limits
from services.storage.memory.conversation import CachedConversation
from services.storage.node import Storage
from tests.unit.storage.nodes import World, change, changed, create, post, send, stored
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError, Unavailable
from tidings_protocol.ids import slot_of

CHAT = "d:ann|bob"


async def mark(node: Storage, user: str, read: int = 0, delivered: int = 0, *, durable: bool = False) -> pb.MarkOutcome:
    item = pb.MarkItem(conversation=CHAT, user=user, read_seq=read, delivered_seq=delivered, durable=durable)
    (outcome,) = await node.cursors.mark([item])
    return outcome


async def listed(node: Storage, user: str, **fields: object) -> pb.ConversationsOutcome:
    (outcome,) = await node.lists.pages([pb.ConversationsItem(user=user, **fields)])  # type: ignore[arg-type]
    return outcome


async def world_with_a_broken_group(node: Storage, world: World) -> None:
    """ann is in three large groups; one of them cannot be loaded."""
    for group in ("g:1", "g:2", "g:3"):
        await changed(node, create(group, "ann", large=True))
        world.clock.advance(1)
    await node.behind.flush()
    node.conversations.memory.drop_slots(frozenset(range(4096)))
    loaded = node.conversations.loader.load

    async def load(ids: Collection[str]) -> dict[str, CachedConversation | TidingsError]:
        found = await loaded(ids)
        return {key: Unavailable("its tail cannot be settled", 1000) if key == "g:2" else found[key] for key in ids}

    node.conversations.loader.load = load  # type: ignore[method-assign]


async def test_conversations_come_newest_first_with_their_last_message_and_cursors() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        world.clock.advance(1)
        await changed(node, create("g:1", "ann", "cid"))
        world.clock.advance(1)
        await mark(node, "bob", delivered=1)
        await stored(node, send("bob", "ann", "b", "newest"))
        outcome = await listed(node, "ann")
        chat, group = outcome.entries
        assert (chat.record.conversation, chat.record.head, chat.me.read_seq) == (CHAT, 2, 1)
        assert (chat.peer.user, chat.peer.read_seq, chat.peer.delivered_seq) == ("bob", 2, 2)
        assert client_pb2.Message.FromString(chat.last).content.text == "newest"
        assert (group.record.conversation, group.record.name, group.me.role) == ("g:1", "friends", 3)
        assert not outcome.more


async def test_conversations_are_paged_without_gap_or_repeat() -> None:
    world = World()
    async with world.node() as node:
        for index in range(7):
            await stored(node, send("ann", f"peer{index}", "x"))
            if index % 2:
                world.clock.advance(1)
        seen: list[str] = []
        after, more = "", True
        while more:
            page = await listed(node, "ann", limit=3, after=after)
            seen += [entry.peer.user for entry in page.entries]
            after, more = page.next, page.more
        assert sorted(seen) == [f"peer{index}" for index in range(7)]
        assert seen[0] == "peer6"


async def test_a_page_of_conversations_is_cut_by_its_bytes() -> None:
    async with World().node() as node:
        for index in range(3):
            await stored(node, send("ann", f"peer{index}", "x", "y" * 1000))
        page = await listed(node, "ann", bytes_max=2500)
        assert (len(page.entries), page.more) == (2, True)
        rest = await listed(node, "ann", bytes_max=2500, after=page.next)
        assert (len(rest.entries), rest.more) == (1, False)


async def test_a_cursor_that_is_none_is_refused() -> None:
    async with World().node() as node:
        assert (await listed(node, "ann", after="nonsense")).fault.code == "BAD_REQUEST"


async def test_the_last_message_is_not_shown_to_who_joined_after_it() -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann", large=True))
        await changed(node, change("g:1", "cid", "join", 1, joins=["cid"], keep_version=True))
        (entry,) = (await listed(node, "cid")).entries
        assert (entry.last, entry.me.joined_seq) == (b"", 2)
        await stored(node, post("g:1", "ann", "x", 1))
        (entry,) = (await listed(node, "cid")).entries
        assert client_pb2.Message.FromString(entry.last).content.text == "hello"


async def test_what_other_owners_have_in_memory_is_fresh_in_a_list() -> None:
    world = World()
    world.hood.owner_of = lambda slot: "two" if slot == slot_of(CHAT) else "one"
    async with world.node("one") as one, world.node("two") as two:
        await stored(one, send("ann", "cid", "x"))
        world.clock.advance(1)
        await stored(two, send("bob", "ann", "a"), send("bob", "ann", "b"))
        first, second = (await listed(one, "ann")).entries
        assert (first.record.conversation, first.record.head, first.peer.read_seq) == (CHAT, 2, 2)
        assert second.record.conversation == "d:ann|cid"
        world.hood.unreachable.add("two")
        heads = {entry.record.conversation: entry.record.head for entry in (await listed(one, "ann")).entries}
        assert heads == {CHAT: 2, "d:ann|cid": 1}


async def test_only_large_groups_if_that_is_asked() -> None:
    async with World().node() as node:
        await changed(node, create("g:1", "ann"))
        await changed(node, create("g:2", "ann", large=True))
        outcome = await listed(node, "ann", large_only=True)
        assert [(entry.record.conversation, entry.last) for entry in outcome.entries] == [("g:2", b"")]


async def test_a_list_says_that_it_cannot_be_had() -> None:
    world = World()
    async with world.node() as node:
        world.database.faults.away = True
        assert (await listed(node, "ann")).fault.code == "UNAVAILABLE"
        world.database.faults.away = False


async def test_a_conversation_that_cannot_be_loaded_is_left_out_of_lists_and_heads() -> None:
    world = World()
    async with world.node() as node:
        await world_with_a_broken_group(node, world)
        assert [entry.record.conversation for entry in (await listed(node, "ann")).entries] == ["g:3", "g:1"]
        heads = await node.pages.conversation_heads(["g:1", "g:2", "g:3"], warm_only=False)
        assert list(heads.heads) == [1, 0, 1]
        only = await listed(node, "ann", large_only=True)
        assert sorted(entry.record.conversation for entry in only.entries) == ["g:1", "g:2", "g:3"]


async def test_large_groups_are_told_to_who_logs_in_though_one_cannot_be_loaded() -> None:
    world = World()
    async with world.node() as node:
        await world_with_a_broken_group(node, world)
        found = await node.lists.large_groups_of(["ann", "bob"])
        assert sorted((record.conversation, record.head) for record in found["ann"]) == [
            ("g:1", 1),
            ("g:2", 1),
            ("g:3", 1),
        ]
        assert node.conversations.memory.peek("g:1") is None, "nothing was loaded for that"


async def test_a_large_group_whose_head_nobody_knows_is_told_to_its_members_all_the_same() -> None:
    world = World(limits=Limits(flush_interval_s=1e6))
    async with world.node() as node:
        await changed(node, create("g:1", "ann", "bob", large=True))
        # Its owner forgets it before the head is written: MongoDB was away.
        node.conversations.memory.drop_slots(frozenset(range(4096)))
        assert world.database.conversations["g:1"].head == 0
        found = await node.lists.large_groups_of(["ann", "bob"])
        assert [[record.conversation for record in found[user]] for user in ("ann", "bob")] == [["g:1"], ["g:1"]]


async def test_the_heads_of_large_groups_are_those_in_their_owners_memory() -> None:
    world = World()
    world.hood.owner_of = lambda slot: "two" if slot == slot_of("g:1") else "one"
    async with world.node("one") as one, world.node("two") as two:
        await changed(two, create("g:1", "ann", large=True))
        await two.behind.flush()
        await stored(two, post("g:1", "ann", "x", 1), post("g:1", "ann", "y", 1))
        (record,) = (await one.lists.large_groups_of(["ann"]))["ann"]
        assert record.head == 3


async def test_large_last_messages_are_read_as_far_as_they_are_shown() -> None:
    world = World()
    async with world.node() as node:
        for which in range(20):
            await stored(node, send(f"peer{which}", "ann", "x", "y" * 30_000))
            world.clock.advance(1)
        before = world.database.content_read
        (page,) = await node.lists.pages([pb.ConversationsItem(user="ann")])
        assert (len(page.entries), page.more) == (4, True)
        assert all(len(entry.last) > 30_000 for entry in page.entries)
        assert world.database.content_read - before <= 5 * 30_100
