"""What is written behind: it stays to be written as long as that fails, and nothing goes back."""

from __future__ import annotations

from services.storage.memory.conversation import CachedConversation
from services.storage.memory.write_behind import WriteBehind
from services.storage.repository.memory import Database
from services.storage.repository.records import ConversationDocument, MemberDocument
from tests.unit.storage.nodes import World
from tidings_protocol.ids import ConversationKind

CHAT = "d:ann|bob"


async def chat_in(database: Database) -> CachedConversation:
    """At message 5, which ann has read; nothing of that is written."""
    repository = database.repository()
    document = ConversationDocument(CHAT, 1)
    await repository.conversations.create([document])
    await repository.members.write([MemberDocument(CHAT, "ann")])
    chat = CachedConversation(CHAT, ConversationKind.DIRECT, document, exists=True, head=5, settled=5, last_ms=7)
    chat.learn(MemberDocument(CHAT, "ann"))
    chat.move("ann", 5, 5)
    return chat


async def test_heads_and_cursors_are_written_with_the_next_flush() -> None:
    world = World()
    behind, chat = WriteBehind(world.database.repository(), world.clock), await chat_in(world.database)
    behind.conversation(chat)
    behind.held("ann", "phone", 9)
    behind.held("ann", "phone", 8)
    assert behind.waiting == 2
    await behind.flush()
    assert behind.waiting == 0
    assert (world.database.conversations[CHAT].head, world.database.members[CHAT]["ann"].read_seq) == (5, 5)
    assert world.database.devices["ann"] == {"phone": 9}
    assert not chat.is_dirty


async def test_what_could_not_be_written_is_written_the_next_time() -> None:
    world = World()
    behind, chat = WriteBehind(world.database.repository(), world.clock), await chat_in(world.database)
    behind.conversation(chat)
    behind.held("ann", "phone", 9)
    world.database.faults.away = True
    await behind.flush()
    assert behind.waiting == 2
    chat.head = chat.settled = 6
    chat.move("ann", 6, 6)
    world.database.faults.away = False
    await behind.flush()
    assert (world.database.conversations[CHAT].head, world.database.members[CHAT]["ann"].read_seq) == (6, 6)
    assert world.database.devices["ann"] == {"phone": 9}


async def test_what_has_not_moved_is_not_written() -> None:
    world = World()
    behind, chat = WriteBehind(world.database.repository(), world.clock), await chat_in(world.database)
    behind.conversation(chat)
    await behind.flush()
    before = world.database.faults.commands
    behind.conversation(chat)
    await behind.flush()
    assert (behind.waiting, world.database.faults.commands) == (0, before)


async def test_one_that_is_loaded_again_takes_over_the_cursors_that_are_not_written_yet() -> None:
    world = World()
    before, after = await chat_in(world.database), await chat_in(world.database)
    after.take_cursors()
    after.members["ann"].read_seq = after.members["ann"].delivered_seq = 2
    after.head = 4
    after.take_over(before)
    # Not beyond the head: what is not durable was not read.
    assert (after.members["ann"].read_seq, after.moved["ann"].read_seq) == (4, 4)


async def test_when_users_were_seen_last_is_told_until_it_is_written() -> None:
    world = World()
    repository = world.database.repository()
    behind = WriteBehind(repository, world.clock)
    await repository.users.create(["ann", "bob"], 1)
    behind.seen("ann", 7)
    behind.seen("ann", 5)
    behind.seen("bob", 6)
    behind.is_back("bob")
    assert (behind.seen_ms("ann"), behind.seen_ms("bob"), behind.waiting) == (7, 0, 1)
    world.database.faults.away = True
    await behind.flush()
    assert behind.seen_ms("ann") == 7
    world.database.faults.away = False
    await behind.flush()
    assert (behind.seen_ms("ann"), behind.waiting) == (0, 0)
    assert (world.database.users["ann"].last_seen_ms, world.database.users["bob"].last_seen_ms) == (7, 0)
