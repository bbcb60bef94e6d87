"""What every repository of messages and inboxes promises."""

from __future__ import annotations

import asyncio

from services.storage.repository.contract import Conflict, Inserted, Repository
from services.storage.repository.records import SYSTEM, ClientKey, InboxEntry, Span, StoredMessage

CHAT, OTHER = "d:ann|bob", "d:ann|cleopatra"


def message(seq: int, client_id: str = "", conversation: str = CHAT, sender: str = "ann") -> StoredMessage:
    return StoredMessage(conversation, seq, sender, client_id or f"{conversation}-{seq}", 1000 + seq, b"hello %d" % seq)


def entry(number: int, seq: int, user: str = "ann", conversation: str = CHAT) -> InboxEntry:
    return InboxEntry(user, number, conversation, seq, 1000 + seq)


async def test_what_was_inserted_is_there_as_it_was(repository: Repository) -> None:
    plain, notice = message(1), StoredMessage("g:1", 7, "bob", "op", 5, b"\0\xff", SYSTEM, b"change")
    assert await repository.messages.insert([plain, notice]) == Inserted(2)
    found = await repository.messages.get([(CHAT, 1), ("g:1", 7), ("g:1", 8)])
    assert found == {(CHAT, 1): plain, ("g:1", 7): notice}


async def test_an_insert_stops_at_a_number_that_is_taken(repository: Repository) -> None:
    await repository.messages.insert([message(2)])
    batch = [message(1), message(2, "other"), message(3)]
    assert await repository.messages.insert(batch) == Inserted(1, Conflict.NUMBER)
    assert [each.seq for each in (await repository.messages.pages([Span(CHAT)]))[0]] == [1, 2]


async def test_an_insert_stops_at_a_client_id_that_was_used(repository: Repository) -> None:
    await repository.messages.insert([message(1, "same")])
    batch = [message(1, "x", OTHER), message(2, "same"), message(3)]
    assert await repository.messages.insert(batch) == Inserted(1, Conflict.CLIENT)


async def test_a_client_id_counts_within_its_sender_and_conversation(repository: Repository) -> None:
    batch = [message(1, "same"), message(2, "same", sender="bob"), message(1, "same", conversation=OTHER)]
    assert await repository.messages.insert(batch) == Inserted(3)


async def test_a_message_is_found_by_its_client_id(repository: Repository) -> None:
    await repository.messages.insert([message(1, "one"), message(2, "two")])
    keys = [ClientKey(CHAT, "ann", "two"), ClientKey(CHAT, "bob", "two"), ClientKey(OTHER, "ann", "two")]
    assert await repository.messages.find(keys) == {keys[0]: message(2, "two")}
    assert await repository.messages.find([]) == {}


async def test_pages_hold_what_is_between_their_ends_in_their_order(repository: Repository) -> None:
    await repository.messages.insert([message(seq) for seq in range(1, 8)])
    await repository.messages.insert([message(seq, conversation=OTHER) for seq in range(1, 4)])
    up, down, both, none = await repository.messages.pages(
        [
            Span(CHAT, after=2, limit=3),
            Span(CHAT, before=4, limit=2, descending=True),
            Span(OTHER, after=1, before=3),
            Span("d:no|one"),
        ]
    )
    assert [each.seq for each in up] == [3, 4, 5]
    assert [each.seq for each in down] == [3, 2]
    assert both == [message(2, conversation=OTHER)]
    assert none == []


async def test_more_pages_than_fit_into_one_command_come_in_order(repository: Repository) -> None:
    names = [f"d:a|user{number}" for number in range(120)]
    await repository.messages.insert([message(1, conversation=name) for name in names])
    pages = await repository.messages.pages([Span(name) for name in names], content=False)
    assert [page[0].conversation for page in pages] == names
    assert {page[0].content for page in pages} == {b""}


async def test_longer_content_is_left_out_and_its_size_told(repository: Repository) -> None:
    short, edge, long = (
        StoredMessage(CHAT, seq, "ann", str(seq), 5, b"x" * size) for seq, size in ((1, 0), (2, 100), (3, 101))
    )
    await repository.messages.insert([short, edge, long])
    without = long._replace(content=b"", left_out=101)
    (page,) = await repository.messages.pages([Span(CHAT)], content_max=100)
    assert page == [short, edge, without]
    assert await repository.messages.get([(CHAT, 2), (CHAT, 3)], content_max=100) == {
        (CHAT, 2): edge,
        (CHAT, 3): without,
    }
    assert await repository.messages.get([(CHAT, 3)]) == {(CHAT, 3): long}


async def test_what_is_removed_is_gone_and_its_neighbours_stay(repository: Repository) -> None:
    await repository.messages.insert([message(seq) for seq in range(1, 6)] + [message(1, conversation=OTHER)])
    assert await repository.messages.remove(CHAT, 4) == 3
    assert await repository.messages.remove(CHAT, 4) == 0
    left, other = await repository.messages.pages([Span(CHAT), Span(OTHER)])
    assert [each.seq for each in left] == [4, 5]
    assert len(other) == 1
    assert await repository.messages.find([ClientKey(CHAT, "ann", f"{CHAT}-1")]) == {}


async def test_of_two_writers_of_one_number_one_wins(repository: Repository) -> None:
    one, two = await asyncio.gather(
        repository.messages.insert([message(1, "a"), message(2, "b")]),
        repository.messages.insert([message(1, "c"), message(2, "d")]),
    )
    assert sorted([one.conflict is None, two.conflict is None]) == [False, True]
    loser = one if one.conflict else two
    assert loser == Inserted(0, Conflict.NUMBER)


async def test_inbox_entries_are_unique_by_user_and_number(repository: Repository) -> None:
    assert await repository.inboxes.insert([entry(1, 1), entry(1, 1, "bob"), entry(2, 2)]) == Inserted(3)
    assert await repository.inboxes.insert([entry(3, 3), entry(2, 9), entry(4, 4)]) == Inserted(1, Conflict.NUMBER)
    (ann, bob) = await repository.inboxes.pages([Span("ann"), Span("bob")])
    assert ann == [entry(1, 1), entry(2, 2), entry(3, 3)]
    assert bob == [entry(1, 1, "bob")]


async def test_users_whose_names_begin_alike_do_not_mix(repository: Repository) -> None:
    await repository.inboxes.insert([entry(1, 1, "a"), entry(1, 2, "aa"), entry(1, 3, "a.b")])
    pages = await repository.inboxes.pages([Span("a"), Span("aa"), Span("a.b", descending=True)])
    assert [[each.seq for each in page] for page in pages] == [[1], [2], [3]]


async def test_an_inbox_is_searched_for_messages_within_a_span(repository: Repository) -> None:
    await repository.inboxes.insert([entry(1, 1), entry(2, 1, conversation=OTHER), entry(3, 2), entry(4, 3)])
    wanted = [(CHAT, 1), (CHAT, 3), (OTHER, 1), (OTHER, 2)]
    found = await repository.inboxes.search(
        [(Span("ann"), wanted), (Span("ann", after=1, before=4, limit=1), wanted), (Span("bob"), [(CHAT, 1)])]
    )
    assert found == [{(CHAT, 1): 1, (OTHER, 1): 2, (CHAT, 3): 4}, {(OTHER, 1): 2}, {}]
    assert await repository.inboxes.search([]) == []


async def test_old_inbox_entries_are_removed(repository: Repository) -> None:
    await repository.inboxes.insert([entry(number, number) for number in range(1, 5)])
    assert await repository.inboxes.remove("ann", 3) == 2
    assert [each.number for each in (await repository.inboxes.pages([Span("ann")]))[0]] == [3, 4]
