"""Conversations as they come into memory."""

from __future__ import annotations

import pytest

from services.storage.limits import LEAD_MAX_MS
from services.storage.loading.loader import ConversationLoader
from services.storage.memory.conversation import CachedConversation
from services.storage.node import Storage
from tests.unit.storage.nodes import World, send, stored
from tidings_protocol.errors import Unavailable

CHAT, OTHER = "d:ann|bob", "d:bob|cid"


def loader_of(node: Storage) -> ConversationLoader:
    return node.conversations.loader


async def test_what_nobody_has_written_to_is_loaded_as_it_begins() -> None:
    async with World().node() as node:
        loaded = await loader_of(node).load([CHAT, "g:none", "b:all"])
        states = [(each.exists, each.head) for each in loaded.values() if isinstance(each, CachedConversation)]
        assert states == [(False, 0)] * 3


async def test_the_head_is_the_last_message_that_is_durable_and_all_up_to_it_is_settled() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, *(send("ann", "bob", f"x{index}") for index in range(3)))
        chat = (await loader_of(node).load([CHAT]))[CHAT]
        assert isinstance(chat, CachedConversation)
        assert (chat.head, chat.settled, chat.is_dirty) == (3, 3, True)


async def test_one_whose_inbox_entries_cannot_be_written_fails_alone() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "x"), send("cid", "bob", "x"))
        del world.database.inboxes["ann"][1]
        node.inboxes.drop_slots(frozenset(range(4096)))

        async def refuse(command: str) -> None:
            if command == "inbox.insert":
                raise Unavailable("away")

        world.database.faults.delay = refuse
        world.clock.advance(5)
        loaded = await loader_of(node).load([CHAT, OTHER])
        assert isinstance(loaded[CHAT], Unavailable)
        assert isinstance(loaded[OTHER], CachedConversation)


async def test_nothing_is_loaded_while_the_database_is_away() -> None:
    world = World()
    async with world.node() as node:
        world.database.faults.away = True
        with pytest.raises(Unavailable):
            await loader_of(node).load([CHAT])
        world.database.faults.away = False


async def test_a_time_far_ahead_is_not_believed() -> None:
    world = World()
    async with world.node() as node:
        await stored(node, send("ann", "bob", "x"))
        message = world.database.messages[CHAT][1]
        world.database.messages[CHAT][1] = message._replace(time_ms=world.clock.wall_ms() + 2 * LEAD_MAX_MS)
        chat = (await loader_of(node).load([CHAT]))[CHAT]
        assert isinstance(chat, CachedConversation)
        assert (chat.last_ms, chat.was_ahead) == (world.clock.wall_ms(), True)
