"""What every log promises: messages and inbox entries in one insert, in order.

A sharded cluster has two commands for it; what they do together is the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.storage.repository.contract import Conflict, Inserted, Repository
from services.storage.repository.memory import Database
from services.storage.repository.records import SYSTEM, ClientKey, InboxEntry, Span, StoredMessage
from tests.contract.repository.conftest import on_mongodb

CHAT, OTHER = "d:ann|bob", "d:ann|cleopatra"
MIB = 1024 * 1024

MONGODB = [pytest.param(name, marks=pytest.mark.integration) for name in ("mongodb", "sharded")]


@pytest.fixture(params=["memory", *MONGODB])
async def repository(request: pytest.FixtureRequest) -> AsyncIterator[Repository]:
    """An empty one."""
    if request.param == "memory":
        yield Database().repository()
        return
    async with on_mongodb(request.getfixturevalue("mongodb"), sharded=request.param == "sharded") as opened:
        yield opened


def message(seq: int, client_id: str = "", conversation: str = CHAT, content: bytes = b"hello") -> StoredMessage:
    return StoredMessage(conversation, seq, "ann", client_id or f"{conversation}-{seq}", 1000 + seq, content)


def entry(number: int, seq: int, user: str = "ann", conversation: str = CHAT) -> InboxEntry:
    return InboxEntry(user, number, conversation, seq, 1000 + seq)


async def everything(repository: Repository) -> tuple[list[int], list[int], list[int]]:
    """The seqs of the chat, and the numbers in the inboxes of ann and of bob."""
    (chat,) = await repository.messages.pages([Span(CHAT)])
    ann, bob = await repository.inboxes.pages([Span("ann"), Span("bob")])
    return [each.seq for each in chat], [each.number for each in ann], [each.number for each in bob]


async def test_messages_and_entries_are_there_as_they_were(repository: Repository) -> None:
    messages = [message(1), StoredMessage("g:1", 7, "bob", "op", 5, b"\0\xff", SYSTEM, b"change")]
    entries = [entry(1, 1), entry(1, 1, "bob"), InboxEntry("bob", 2, "g:1", 7, 5)]
    assert await repository.log.insert(messages, entries) == Inserted(5)
    assert await repository.messages.get([(CHAT, 1), ("g:1", 7)]) == {(CHAT, 1): messages[0], ("g:1", 7): messages[1]}
    assert await repository.messages.find([ClientKey("g:1", "bob", "op")]) == {
        ClientKey("g:1", "bob", "op"): messages[1]
    }
    assert await repository.inboxes.pages([Span("ann"), Span("bob")]) == [entries[:1], entries[1:]]
    assert await repository.inboxes.search([(Span("bob"), [(CHAT, 1), ("g:1", 7)])]) == [{(CHAT, 1): 1, ("g:1", 7): 2}]


async def test_nothing_is_in_behind_a_message_whose_place_is_taken(repository: Repository) -> None:
    await repository.messages.insert([message(2)])
    batch = [message(1), message(2, "new"), message(3)]
    assert await repository.log.insert(batch, [entry(1, 1), entry(1, 1, "bob")]) == Inserted(1, Conflict.NUMBER)
    assert await everything(repository) == ([1, 2], [], [])


async def test_nothing_is_in_behind_a_client_id_that_was_used(repository: Repository) -> None:
    await repository.messages.insert([message(1, "same")])
    batch = [message(1, conversation=OTHER), message(2, "same"), message(3)]
    assert await repository.log.insert(batch, [entry(1, 1)]) == Inserted(1, Conflict.CLIENT)
    assert await everything(repository) == ([1], [], [])


async def test_a_client_id_twice_in_one_insert_is_a_conflict_too(repository: Repository) -> None:
    batch = [message(1, "same"), message(2, "same")]
    assert await repository.log.insert(batch, [entry(1, 1)]) == Inserted(1, Conflict.CLIENT)


async def test_messages_and_earlier_entries_are_in_before_a_number_that_is_taken(repository: Repository) -> None:
    await repository.inboxes.insert([entry(1, 9, "bob")])
    entries = [entry(1, 1), entry(1, 1, "bob"), entry(2, 2)]
    assert await repository.log.insert([message(1), message(2)], entries) == Inserted(3, Conflict.ENTRY)
    assert await everything(repository) == ([1, 2], [1], [1])
    (bob,) = await repository.inboxes.pages([Span("bob")])
    assert bob == [entry(1, 9, "bob")]


async def test_the_first_entry_may_be_the_one_whose_number_is_taken(repository: Repository) -> None:
    await repository.inboxes.insert([entry(1, 9)])
    assert await repository.log.insert([message(1)], [entry(1, 1)]) == Inserted(1, Conflict.ENTRY)
    assert await repository.log.insert([], [entry(1, 1)]) == Inserted(0, Conflict.ENTRY)


async def test_more_bytes_than_one_command_carries_go_in_as_well(repository: Repository) -> None:
    large = [message(seq, content=b"x" * 4 * MIB) for seq in range(1, 7)]
    entries = [entry(seq, seq) for seq in range(1, 7)]
    assert await repository.log.insert(large, entries) == Inserted(12)
    assert await everything(repository) == ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [])


async def test_a_conflict_in_a_later_command_counts_what_the_earlier_ones_did(repository: Repository) -> None:
    await repository.messages.insert([message(6)])
    large = [message(seq, f"new-{seq}", content=b"x" * 4 * MIB) for seq in range(1, 7)]
    assert await repository.log.insert(large, [entry(1, 1)]) == Inserted(5, Conflict.NUMBER)
    assert await everything(repository) == ([1, 2, 3, 4, 5, 6], [], [])


async def test_messages_may_come_alone(repository: Repository) -> None:
    assert await repository.log.insert([message(1), message(2)], []) == Inserted(2)
    assert await everything(repository) == ([1, 2], [], [])


async def test_entries_may_come_alone(repository: Repository) -> None:
    assert await repository.log.insert([], [entry(1, 1), entry(2, 2)]) == Inserted(2)
    assert await everything(repository) == ([], [1, 2], [])


async def test_nothing_is_inserted_as_nothing(repository: Repository) -> None:
    assert await repository.log.insert([], []) == Inserted(0)


async def test_a_user_who_is_called_as_a_group_is_does_not_meet_it(repository: Repository) -> None:
    messages = [message(seq, conversation="g:1") for seq in (1, 2)]
    entries = [InboxEntry("g:1", number, CHAT, number, 1) for number in (1, 2)]
    assert await repository.log.insert(messages, entries) == Inserted(4)
    assert await repository.messages.pages([Span("g:1")]) == [messages]
    assert await repository.inboxes.pages([Span("g:1")]) == [entries]
    assert await repository.messages.remove("g:1", 2) == 1
    assert await repository.inboxes.remove("g:1", 3) == 2
    assert await repository.messages.pages([Span("g:1")]) == [messages[1:]]
