"""Batches go to their owners, and their outcomes come back in their order."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.common.rpc.contract import MESSAGE_BYTES_MAX, too_large
from services.common.rpc.faults import to_fault
from services.logic.storage_client import StorageClient
from tests.unit.logic.fake_storage import FakeStorage
from tidings_protocol.errors import Internal, NotFound, TidingsError, Unavailable
from tidings_protocol.ids import slot_of

M = TypeVar("M", bound=Message)


class Owners:
    """Two storage nodes, by whether the slot is even; the odd one may be away."""

    def __init__(self) -> None:
        self.nodes = {0: FakeStorage(), 1: FakeStorage()}
        self.away: TidingsError | None = None
        self.asked: list[tuple[int, Message]] = []
        self.answer: Message | None = None

    async def call(
        self, slot: int, method: str, request: Message, reply_type: type[M], *, timeout_s: float, budget_s: float
    ) -> M:
        self.asked.append((slot % 2, request))
        if slot % 2 and self.away is not None:
            raise self.away
        if self.answer is not None:
            assert isinstance(self.answer, reply_type)
            return self.answer
        return await self.nodes[slot % 2].call(
            slot, method, request, reply_type, timeout_s=timeout_s, budget_s=budget_s
        )


def client(owners: Owners, batch_max: int = 500) -> StorageClient:
    return StorageClient(owners, lambda slot: str(slot % 2), timeout_s=1, budget_s=2, batch_max=batch_max)


USERS = [f"user{number}" for number in range(40)]


async def test_each_owner_is_asked_once_and_the_answers_are_in_order() -> None:
    owners = Owners()
    for user in USERS:
        owners.nodes[slot_of(user) % 2].inboxes[user] = [("x", 1)] * int(user[4:])
    assert await client(owners).inbox_heads(USERS) == list(range(40))
    assert sorted(owner for owner, _ in owners.asked) == [0, 1]


async def test_an_owner_that_is_away_fails_its_own_items_only() -> None:
    owners = Owners()
    owners.away = Unavailable("away")
    outcomes = await client(owners).sessions(USERS)
    assert [isinstance(outcome, Unavailable) for outcome in outcomes] == [slot_of(user) % 2 == 1 for user in USERS]


async def test_too_many_items_for_one_call_are_several_in_order() -> None:
    owners = Owners()
    items = [pb.StoreItem(conversation="d:a|b", sender="a", client_id=str(number)) for number in range(25)]
    outcomes = await client(owners, batch_max=10).store(items)
    assert [outcome.seq for outcome in outcomes if not isinstance(outcome, TidingsError)] == list(range(1, 26))
    assert len(owners.asked) == 3


async def test_many_pages_at_once_are_smaller_ones() -> None:
    owners = Owners()
    items = [pb.InboxItem(user="amy", limit=10, bytes_max=131_072) for _ in range(128)]
    await client(owners).inbox(items)
    assert items[0].bytes_max == 65_536
    alone = pb.InboxItem(user="amy", limit=10, bytes_max=131_072)
    await client(owners).inbox([alone])
    assert alone.bytes_max == 131_072


async def test_a_fault_is_the_error_that_storage_had() -> None:
    owners = Owners()
    owners.answer = pb.MarkOutcomes(outcomes=[pb.MarkOutcome(fault=to_fault(NotFound("no such group")))])
    [outcome] = await client(owners).mark([pb.MarkItem(conversation="g:x", user="amy")])
    assert isinstance(outcome, NotFound)
    assert outcome.message == "no such group"


async def test_an_answer_of_another_length_is_a_defect_not_a_mixup() -> None:
    owners = Owners()
    owners.answer = pb.HeadOutcomes(heads=[1, 2, 3])
    assert [type(head) for head in await client(owners).inbox_heads(["amy"])] == [Internal]


async def test_nothing_to_ask_is_no_call() -> None:
    owners = Owners()
    assert await client(owners).inbox_heads([]) == []
    assert owners.asked == []


async def test_an_error_of_one_item_is_found_where_the_answer_has_no_room_for_it() -> None:
    """Sessions, heads and users come without faults: the call fails whole, and is made by halves."""
    owners = Owners()
    broken = "user7"

    async def call(slot: int, method: str, request: pb.KeyBatch, reply_type: type[M], **_: float) -> M:
        owners.asked.append((0, request))
        if broken in request.keys:
            raise Internal("Storage/InboxHeads failed because of a defect")
        return reply_type(heads=[int(user[4:]) for user in request.keys])

    owners.call = call  # type: ignore[method-assign,assignment]
    one = StorageClient(owners, lambda _: "storage-0", timeout_s=1, budget_s=2, batch_max=500)
    heads = await one.inbox_heads(USERS)
    assert [isinstance(head, Internal) for head in heads] == [user == broken for user in USERS]
    assert [head for head in heads if not isinstance(head, Internal)] == [n for n in range(40) if n != 7]
    assert len(owners.asked) <= 1 + 2 * 6


async def test_messages_to_many_are_as_many_calls_as_carry_them() -> None:
    """With a threshold of 2,000 members a batch of messages is larger than a call, whatever their contents are."""
    owners = Owners()
    recipients = [f"{number:060}" for number in range(2000)]
    items = [
        pb.StoreItem(conversation="d:a|b", sender="a", client_id=str(number), recipients=recipients)
        for number in range(150)
    ]
    assert pb.StoreBatch(items=items).ByteSize() > MESSAGE_BYTES_MAX
    for node in owners.nodes.values():
        node._number = lambda *_: 1  # type: ignore[method-assign]  # finding the true ones would take seconds
    outcomes = await client(owners).store(items)
    assert [outcome.seq for outcome in outcomes if not isinstance(outcome, TidingsError)] == list(range(1, 151))
    assert len(owners.asked) == 2
    assert all(request.ByteSize() < MESSAGE_BYTES_MAX for _, request in owners.asked)


async def test_an_answer_that_is_larger_than_a_call_is_asked_for_by_halves() -> None:
    """Repeats of large messages come back with what was stored first, whatever they have themselves."""
    owners = Owners()
    items = [
        pb.StoreItem(conversation="d:a|b", sender="a", client_id=str(n), content=bytes(100_000)) for n in range(250)
    ]
    await client(owners).store(items)
    answer = owners.nodes[slot_of("d:a|b") % 2].call

    async def call(slot: int, method: str, request: Message, reply_type: type[M], **times: float) -> M:
        reply = await answer(slot, method, request, reply_type, **times)
        if reply.ByteSize() > MESSAGE_BYTES_MAX:
            raise too_large(method)
        return reply

    owners.nodes[slot_of("d:a|b") % 2].call = call  # type: ignore[method-assign]
    for item in items:
        item.content = b""
    outcomes = await client(owners).store(items)
    assert [(each.seq, len(each.content)) for each in outcomes if not isinstance(each, TidingsError)] == [
        (seq, 100_000) for seq in range(1, 251)
    ]
