"""The entries that a batch names, at each moment of it."""

from __future__ import annotations

from services.storage.loading.documents import cached_from
from services.storage.messages.targets import Targets
from services.storage.repository.records import ConversationDocument
from tests.unit.storage.folding.documents import CHAT, message

KEY, OTHER = (CHAT, 1), ("d:ann|cid", 1)


def test_what_was_asked_for_is_known_also_if_it_is_not_there() -> None:
    targets = Targets()
    assert targets.unknown([KEY, OTHER, KEY]) == [KEY, OTHER]
    targets.learn([KEY, OTHER], {KEY: message()})
    assert targets.unknown([KEY, OTHER]) == []
    assert (targets.at(KEY), targets.at(OTHER)) == (message(), None)


def test_what_is_planned_counts_until_the_next_plan_begins() -> None:
    targets = Targets()
    targets.learn([KEY], {KEY: message()})
    after = message(text="after")
    targets.put(after)
    assert targets.at(KEY) == after
    targets.begin()
    assert targets.at(KEY) == message()
    targets.changed(after)
    assert (targets.at(KEY), targets.in_database(KEY)) == (after, message())


def test_what_was_inserted_is_in_the_database_as_it_is() -> None:
    targets = Targets()
    targets.inserted(message())
    assert targets.at(KEY) == targets.in_database(KEY) == message()
    assert targets.unknown([KEY]) == []


def test_what_is_known_of_a_conversation_is_forgotten_when_that_is_loaded_again() -> None:
    targets = Targets()
    targets.learn([KEY, OTHER], {KEY: message()})
    targets.forget(CHAT)
    assert targets.unknown([KEY, OTHER]) == [KEY]


def test_what_is_pinned_is_that_of_the_document_until_something_is_planned() -> None:
    conversation = cached_from(CHAT, ConversationDocument(CHAT, 1, pinned=(3,), pinned_at=4), ())
    targets = Targets()
    assert targets.pinned_in(conversation) == (3,)
    targets.put_pinned(CHAT, (1, 3))
    assert targets.pinned_in(conversation) == (1, 3)
    targets.begin()
    assert targets.pinned_in(conversation) == (3,)
