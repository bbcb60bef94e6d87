"""Storing as columns is storing: what is said of each row is what `Store` says of the same items.

Does not know: times, which are each one's own.
"""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import storage_pb2 as pb
from tests.contract.storage_calls.harness import Storage
from tests.unit.storage.nodes import change, content_of, create, post, send

GROUP = "g:1"
STATUS = pb.StoreOutcome


def columns(items: Sequence[pb.StoreItem]) -> pb.StoreColumns:
    """The items as columns; of what no row has, nothing."""
    return pb.StoreColumns(
        conversations=[item.conversation for item in items],
        senders=[item.sender for item in items],
        client_ids=[item.client_id for item in items],
        contents=[item.content for item in items],
        versions=[item.version for item in items] if any(item.version for item in items) else (),
        recipient_counts=[len(item.recipients) for item in items],
        recipients=[user for item in items for user in item.recipients],
        reply_tos=[item.reply_to for item in items] if any(item.reply_to for item in items) else (),
    )


async def store_rows(storage: Storage, *items: pb.StoreItem) -> list[pb.StoreOutcome]:
    """The outcome of each row, whether it is in the columns or unusual."""
    stored = await storage.ask("StoreRows", columns(items), pb.StoredColumns)
    numbers = iter(stored.numbers)
    outcomes = [
        pb.StoreOutcome(seq=seq, time_ms=time_ms, numbers=[next(numbers) for _ in item.recipients])
        for item, seq, time_ms in zip(items, stored.seqs, stored.times_ms, strict=True)
    ]
    assert next(numbers, None) is None, "numbers stand with the recipients"
    places = [each.place for each in stored.unusual]
    assert places == sorted(set(places))
    for each in stored.unusual:
        assert outcomes[each.place].seq == outcomes[each.place].time_ms == 0
        assert not any(outcomes[each.place].numbers)
        outcomes[each.place] = each.outcome
    for place in stored.read_over:
        outcomes[place].read_over = True
    return outcomes


async def test_numbers_are_dense_in_the_conversation_and_in_each_inbox(storage: Storage) -> None:
    outcomes = await store_rows(
        storage, send("ann", "bob", "1"), send("bob", "ann", "2"), send("ann", "cid", "3"), send("ann", "ann", "4")
    )
    assert [(each.status, each.seq, list(each.numbers)) for each in outcomes] == [
        (STATUS.STORED, 1, [1, 1]),
        (STATUS.STORED, 2, [2, 2]),
        (STATUS.STORED, 1, [3, 1]),
        (STATUS.STORED, 1, [4]),
    ]
    assert 0 < outcomes[0].time_ms <= outcomes[1].time_ms


async def test_rows_and_items_are_one_log(storage: Storage) -> None:
    await storage.store(send("ann", "bob", "1"))
    [row] = await store_rows(storage, send("bob", "ann", "2"))
    [item] = await storage.store(send("ann", "bob", "3"))
    assert [(each.seq, list(each.numbers)) for each in (row, item)] == [(2, [2, 2]), (3, [3, 3])]


async def test_a_repeat_is_told_what_was_stored_first_and_its_neighbours_are_stored(storage: Storage) -> None:
    [first] = await store_rows(storage, send("ann", "bob", "1", "first"))
    before, again, after = await store_rows(
        storage, send("ann", "bob", "0"), send("ann", "bob", "1", "second"), send("ann", "bob", "2")
    )
    assert (again.status, again.seq, again.time_ms) == (STATUS.DUPLICATE, 1, first.time_ms)
    assert (again.content, list(again.numbers)) == (content_of("first"), [1, 1])
    assert [(each.status, each.seq, list(each.numbers)) for each in (before, after)] == [
        (STATUS.STORED, 2, [2, 2]),
        (STATUS.STORED, 3, [3, 3]),
    ]


async def test_the_same_message_twice_in_one_call_is_stored_once(storage: Storage) -> None:
    first, again, other = await store_rows(
        storage, send("ann", "bob", "1"), send("ann", "bob", "1"), send("ann", "bob", "2")
    )
    assert [(each.status, each.seq) for each in (first, again, other)] == [
        (STATUS.STORED, 1),
        (STATUS.DUPLICATE, 1),
        (STATUS.STORED, 2),
    ]


async def test_a_reply_to_what_is_not_there_is_not_stored_and_one_to_the_row_before_is(storage: Storage) -> None:
    outcomes = await store_rows(
        storage, send("ann", "bob", "1"), send("ann", "bob", "2", reply_to=7), send("bob", "ann", "3", reply_to=1)
    )
    assert [(each.status, each.seq) for each in outcomes] == [
        (STATUS.STORED, 1),
        (STATUS.NO_SUCH_REPLY, 0),
        (STATUS.STORED, 2),
    ]


async def test_what_was_decided_on_an_old_version_is_stale_and_spoils_nothing_else(storage: Storage) -> None:
    await storage.change(create(GROUP, "ann", "bob"))
    await storage.change(change(GROUP, "ann", "add", 1, joins=["cid"], notices=[["ann", "bob", "cid"]]))
    outcomes = await store_rows(
        storage,
        post(GROUP, "ann", "1", 1, ["ann", "bob"]),
        post(GROUP, "ann", "2", 1, ["ann", "bob"]),
        send("ann", "bob", "3"),
    )
    assert [each.status for each in outcomes] == [STATUS.STALE, STATUS.STALE, STATUS.STORED]
    [stored] = await store_rows(storage, post(GROUP, "ann", "1", 2, ["ann", "bob", "cid"]))
    assert (stored.status, stored.seq, len(stored.numbers)) == (STATUS.STORED, 3, 3)
