"""The messages with reactions in memory, and when they are looked at."""

from __future__ import annotations

import asyncio

from services.storage.memory.conversation import CachedConversation
from services.storage.reactions.memory import ReactedMessages
from services.storage.repository.records import ConversationDocument
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import ConversationKind

TARGET = ("g:1", 7)


def loaded() -> CachedConversation:
    return CachedConversation("g:1", ConversationKind.GROUP, ConversationDocument("g:1", 2))


def test_a_set_is_trusted_as_long_as_its_conversation_is_the_one_it_was_read_with() -> None:
    memory, conversation = ReactedMessages(), loaded()
    reacted = memory.learn(TARGET, conversation, ())
    assert memory.trusted(TARGET, conversation) is reacted
    assert memory.trusted(TARGET, loaded()) is None
    assert memory.trusted(TARGET, Unavailable("away")) is None
    memory.drop(TARGET)
    assert memory.trusted(TARGET, conversation) is None


def test_what_was_noted_of_a_set_that_is_read_again_is_to_be_found_out() -> None:
    memory = ReactedMessages()
    before = memory.learn(TARGET, loaded(), ())
    before.news.came("ann", "+")
    before.is_marked = True
    again = memory.learn(TARGET, loaded(), ())
    assert (again.news.by, again.is_marked) == ("ann", False)
    assert memory.found == {TARGET: "ann"}


async def test_who_waits_for_the_next_one_hears_of_the_first_that_is_put() -> None:
    memory = ReactedMessages()
    waiting = asyncio.create_task(memory.earliest())
    await asyncio.sleep(0)
    assert not waiting.done()
    memory.look_at(TARGET, 5.0)
    assert await waiting == 5.0
    assert (memory.waiting, memory.is_due(TARGET)) == (1, True)
    assert memory.take_due(5.0, 10) == [TARGET]
    assert (memory.waiting, memory.is_due(TARGET)) == (0, False)
