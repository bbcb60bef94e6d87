"""Rows go to the owners of their conversations, and what became of them stands at their places."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.lanes.dividing import PORTION_BYTES_MAX
from services.common.rpc.contract import MESSAGE_BYTES_MAX
from services.logic.storage_rows import RowsToStore, StoredRows, store_rows
from tests.unit.logic.fake_storage import FakeStorage
from tests.unit.logic.test_storage_client import Owners, client
from tidings_protocol.errors import Internal, TidingsError, Unavailable
from tidings_protocol.ids import slot_of

Answer = Callable[[pb.StoreColumns], pb.StoredColumns]


def both(_: str) -> list[str]:
    return ["a", "b"]


def rows(
    *conversations: str,
    users: Callable[[str], list[str]] = both,
    versions: Sequence[int] = (),
    reply_tos: Sequence[int] = (),
) -> RowsToStore:
    """A message in each conversation, for these users of it."""
    recipients = [users(conversation) for conversation in conversations]
    return RowsToStore(
        conversations,
        ["a"] * len(conversations),
        [str(place) for place in range(len(conversations))],
        [b"x"] * len(conversations),
        list(map(len, recipients)),
        [user for each in recipients for user in each],
        versions,
        reply_tos,
    )


async def stored(asked: RowsToStore, answer: Answer) -> StoredRows:
    async def ask(_: int, columns: pb.StoreColumns) -> pb.StoredColumns:
        return answer(columns)

    return await store_rows(asked, lambda _: "one", ask, 500)


async def test_one_owner_is_asked_once_for_all_of_it() -> None:
    owners = Owners()
    asked = rows("g:x", "g:x", versions=[0, 0], reply_tos=[0, 1])
    outcome = await client(owners).store_rows(asked)
    assert (outcome.seqs, outcome.times_ms, outcome.numbers) == ([1, 2], [1001, 1002], [1, 1, 2, 2])
    assert (outcome.read_over, outcome.unusual) == ([], {})
    [(_, request)] = owners.asked
    assert request == asked.encoded()


NAMES = [f"g:{number}" for number in range(12)]


@settings(max_examples=50)
@given(st.lists(st.sampled_from(NAMES), max_size=30), st.sampled_from([1, 3, 500]), st.booleans())
async def test_split_or_not_the_outcome_is_the_same(conversations: list[str], count_max: int, away: bool) -> None:
    if not conversations:
        return

    def users(conversation: str) -> list[str]:
        return [f"{conversation[2:]}-{number}" for number in range(int(conversation[2:]) % 4)]

    asked = rows(*conversations, users=users, reply_tos=[place % 3 for place in range(len(conversations))])
    whole = FakeStorage()
    whole.read_over = True
    expected = await StorageOf(whole).store_rows(asked)
    owners = Owners()
    owners.away = Unavailable("away") if away else None
    for node in owners.nodes.values():
        node.read_over = True
    found = await client(owners, batch_max=count_max).store_rows(asked)
    starts = [sum(asked.recipient_counts[:place]) for place in range(len(conversations) + 1)]
    for place, conversation in enumerate(conversations):
        numbers = slice(starts[place], starts[place + 1])
        if away and slot_of(conversation) % 2:
            assert isinstance(found.unusual[place], Unavailable)
            assert (found.seqs[place], any(found.numbers[numbers])) == (0, False)
            continue
        assert (found.seqs[place], found.times_ms[place]) == (expected.seqs[place], expected.times_ms[place])
        assert found.numbers[numbers] == expected.numbers[numbers]
        assert (place in found.read_over) == (place in expected.read_over)
        assert found.unusual.get(place) == expected.unusual.get(place)


async def test_what_is_more_than_a_call_carries_goes_in_several_in_order() -> None:
    owners = Owners()
    content = bytes(100_000)
    asked = rows(*["g:x"] * 250)._replace(contents=[content] * 250)
    outcome = await client(owners).store_rows(asked)
    assert outcome.seqs == list(range(1, 251))
    assert len(owners.asked) == 25_000_000 // PORTION_BYTES_MAX + 1
    assert all(request.ByteSize() < MESSAGE_BYTES_MAX for _, request in owners.asked)


async def test_a_row_that_was_stored_after_all_stands_among_the_others() -> None:
    """Storage may say so of a row that it did not store by the short way."""

    def answer(columns: pb.StoreColumns) -> pb.StoredColumns:
        late = pb.StoreOutcome(seq=8, time_ms=80, numbers=[3, 4], read_over=True)
        return pb.StoredColumns(
            seqs=[7, 0],
            times_ms=[70, 0],
            numbers=[1, 2, 0, 0],
            unusual=[pb.StoredColumns.Unusual(place=1, outcome=late)],
        )

    outcome = await stored(rows("g:x", "g:x"), answer)
    assert outcome == StoredRows([7, 8], [70, 80], [1, 2, 3, 4], [1])


async def test_all_may_be_unusual() -> None:
    stale = pb.StoreOutcome(status=pb.StoreOutcome.STALE)
    unusual = [pb.StoredColumns.Unusual(place=place, outcome=stale) for place in range(2)]
    outcome = await stored(rows("g:x", "g:x"), lambda _: pb.StoredColumns(unusual=unusual))
    assert outcome == StoredRows([0, 0], [0, 0], [0] * 4, [], {0: stale, 1: stale})


@pytest.mark.parametrize(
    "answer",
    [
        pb.StoredColumns(),
        pb.StoredColumns(seqs=[1], times_ms=[1], numbers=[1, 1]),
        pb.StoredColumns(seqs=[1, 2], times_ms=[1, 2], numbers=[1, 1, 1]),
        pb.StoredColumns(seqs=[1, 2], times_ms=[1, 2], numbers=[1] * 4, unusual=[pb.StoredColumns.Unusual(place=2)]),
    ],
)
async def test_an_answer_about_other_rows_is_a_defect_not_a_mixup(answer: pb.StoredColumns) -> None:
    outcome = await stored(rows("g:x", "g:x"), lambda _: answer)
    assert [type(error) for error in outcome.unusual.values()] == [Internal, Internal]
    assert outcome.seqs == [0, 0]


async def test_a_call_that_fails_is_the_error_of_its_rows() -> None:
    def answer(_: pb.StoreColumns) -> pb.StoredColumns:
        raise Unavailable("no primary")

    outcome = await stored(rows("g:x", "g:y"), answer)
    assert [isinstance(outcome.unusual[place], TidingsError) for place in range(2)] == [True, True]


class StorageOf:
    """One node that is asked for everything."""

    def __init__(self, node: FakeStorage) -> None:
        self._node = node

    async def store_rows(self, asked: RowsToStore) -> StoredRows:
        return await stored(asked, self._node._storerows)
