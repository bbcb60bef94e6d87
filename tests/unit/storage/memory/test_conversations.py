"""Which conversations a node answers from memory, and what it still writes of those that it replaces."""

from __future__ import annotations

from services.storage.loading.documents import cached_from
from services.storage.memory.conversation import CachedConversation
from services.storage.memory.conversations import ConversationMemory
from tests.unit.storage.nodes import World, send, stored
from tidings_protocol.ids import slot_of

CHAT = "d:ann|bob"


async def test_what_another_node_owns_by_now_is_not_answered_from_memory() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "a"))
        memory: ConversationMemory = node.conversations.memory
        assert memory.peek(CHAT) is not None
        world.hood.owner_of = lambda slot: "two" if slot == slot_of(CHAT) else "one"
        assert not memory.is_owner(CHAT)
        assert memory.peek(CHAT) is None
        world.hood.owner_of = lambda _: "one"
        assert memory.peek(CHAT) is None, "what it has is in doubt"


async def test_who_replaces_a_conversation_takes_over_what_was_not_written() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "a"))
        memory = node.conversations.memory
        before = memory.peek(CHAT)
        assert before is not None
        before.move("bob", 1, 1)
        loaded = (await node.conversations.loader.load([CHAT]))[CHAT]
        assert isinstance(loaded, CachedConversation)
        memory.keep(loaded)
        assert memory.peek(CHAT) is loaded
        assert (loaded.members["bob"].read_seq, loaded.moved["bob"].read_seq) == (1, 1)


async def test_that_a_group_does_not_exist_is_not_remembered() -> None:
    async with World().node() as node:
        node.conversations.memory.keep(cached_from("g:1", None, ()))
        assert len(node.conversations.memory) == 0


async def test_what_is_in_memory_is_told_apart_from_what_is_to_be_loaded() -> None:
    async with World().node() as node:
        await stored(node, send("ann", "bob", "a"))
        here, cold = node.conversations.memory.divide([CHAT, "g:1", CHAT, "g:1"])
        assert (list(here), cold) == ([CHAT], ["g:1"])
