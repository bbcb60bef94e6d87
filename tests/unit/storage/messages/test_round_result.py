"""What a round leaves behind for memory: of each conversation the last word counts."""

from __future__ import annotations

from services.storage.memory.conversation import CachedConversation
from services.storage.messages.round_result import RoundResult
from services.storage.repository.records import ConversationDocument
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import ConversationKind

CHAT = "d:ann|bob"


def chat() -> CachedConversation:
    return CachedConversation(CHAT, ConversationKind.DIRECT, ConversationDocument(CHAT, 1))


def test_what_is_dropped_after_it_was_kept_is_dropped() -> None:
    result = RoundResult()
    result.keep(chat())
    result.drop(CHAT)
    assert (result.kept, result.dropped) == ({}, {CHAT})


def test_what_is_kept_after_it_was_dropped_is_kept_and_one_that_was_replaced_may_have_something_to_write() -> None:
    result, first, second = RoundResult(), chat(), chat()
    result.drop(CHAT)
    result.keep(first)
    result.keep(second)
    assert (result.kept, result.dropped, result.dirty) == ({CHAT: second}, set(), [first, second])


def test_items_that_fail_together_have_the_same_error() -> None:
    result, error = RoundResult(), Unavailable("away")
    result.fail([3, 5], error)
    assert result.outcomes == {3: error, 5: error}
