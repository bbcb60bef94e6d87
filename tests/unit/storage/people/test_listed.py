"""Preferences as lists of conversations show them."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from tests.unit.storage.nodes import World, send, stored
from tidings_protocol.client_pb2 import Prefer

CHAT = "d:ann|bob"


async def test_a_list_says_what_the_user_prefers_and_leaves_out_what_they_have_hidden() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "1", "hi"))
        await node.preferences.prefer([pb.PreferItem(user="ann", prefer=Prefer(conversation=CHAT, pinned=True))])
        (mine,) = await node.lists.pages([pb.ConversationsItem(user="ann")])
        (theirs,) = await node.lists.pages([pb.ConversationsItem(user="bob")])
        assert mine.entries[0].preferences.pinned
        assert not theirs.entries[0].HasField("preferences")
        await node.preferences.prefer([pb.PreferItem(user="ann", prefer=Prefer(conversation=CHAT, hidden=True))])
        (mine,) = await node.lists.pages([pb.ConversationsItem(user="ann")])
        assert list(mine.entries) == []
        await stored(node, send("ann", "bob", "2", "again"))
        (mine,) = await node.lists.pages([pb.ConversationsItem(user="ann")])
        assert [entry.record.conversation for entry in mine.entries] == [CHAT]
