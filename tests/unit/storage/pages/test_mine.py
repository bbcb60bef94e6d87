"""What a reader has given is marked in all that they are shown, and in nothing that others are."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.node import Storage
from tests.unit.storage.nodes import World, react, send, stored
from tidings_protocol import client_pb2

CHAT, BOTH = "d:ann|bob", ("ann", "bob")


async def liked(node: Storage) -> None:
    """A chat of two messages; ann and bob have given the first one a reaction each."""
    await stored(node, send("ann", "bob", "m"), send("ann", "bob", "n"))
    given = [react(CHAT, 1, "ann", "+", recipients=BOTH), react(CHAT, 1, "bob", "-", recipients=BOTH)]
    await node.reactions.react(given)


def mine(encoded: bytes) -> dict[str, bool]:
    return {each.reaction: each.mine for each in client_pb2.Message.FromString(encoded).state.reactions}


async def test_pages_of_a_history_that_are_read_together_are_each_readers_own() -> None:
    async with World().node() as node:
        await liked(node)
        items = [pb.HistoryItem(conversation=CHAT, user=user, changes=True, limit=50) for user in ("ann", "bob", "cid")]
        ann, bob, other = await node.pages.history(items)
        for page, expected in ((ann, {"+": True, "-": False}), (bob, {"+": False, "-": True})):
            first, second, told = page.entries
            assert mine(first.message) == mine(told.message) == expected
            assert mine(second.message) == {}
        assert mine(other.entries[0].message) == {"+": False, "-": False}


async def test_an_inbox_says_it_of_messages_and_of_what_tells_of_them() -> None:
    async with World().node() as node:
        await liked(node)
        ann, bob = await node.pages.inbox([pb.InboxItem(user=user, limit=50) for user in BOTH])
        assert [mine(entry.message) for entry in ann.entries] == [{"+": True, "-": False}, {}, {"+": True, "-": False}]
        assert mine(bob.entries[2].message) == {"+": False, "-": True}


async def test_a_list_says_it_of_the_last_message() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "m"))
        await node.reactions.react([react(CHAT, 1, "bob", "+", recipients=BOTH)])
        ann, bob = await node.lists.pages([pb.ConversationsItem(user=user, limit=50) for user in BOTH])
        assert mine(ann.entries[0].last) == {"+": False}
        assert mine(bob.entries[0].last) == {"+": True}


async def test_where_nobody_reacts_nothing_more_is_read() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "m"))
        asked: list[str] = []

        async def note(name: str) -> None:
            asked.append(name)

        world.database.faults.delay = note
        await node.pages.history([pb.HistoryItem(conversation=CHAT, user="ann", limit=50)])
        assert "reactions.find" not in asked
