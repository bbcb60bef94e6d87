"""Sends as columns: what is plain is stored and told column by column, the rest as it always was."""

from __future__ import annotations

import asyncio

import pytest

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2, storage_pb2
from services.common.rpc.faults import to_fault
from services.common.telemetry import metrics
from services.logic.publishing import publisher
from tests.unit.logic.harness import Logic, body, columns_of, logic, message, outcomes_of
from tests.unit.logic.messages.test_hooked_sends import Deciding, until_answered
from tests.unit.logic.messages.test_hooks import hooks
from tidings_protocol import client_pb2
from tidings_protocol.errors import Forbidden, Internal, Unavailable
from tidings_protocol.ids import message_id

Push = delivery_pb2.Push


async def told(node: Logic, recipients: int) -> list[delivery_pb2.Push]:
    """The pushes of messages, as soon as they are for so many, all together: nobody waits for them."""
    pushes: list[delivery_pb2.Push] = []
    async with asyncio.timeout(5):
        while sum(len(push.users) for push in pushes) < recipients:
            await asyncio.sleep(0)
            pushes += node.pushes()
    return pushes


def fault_codes(outcomes: list[logic_pb2.SendOutcome]) -> list[str]:
    return [outcome.fault.code for outcome in outcomes]


async def test_a_plain_message_is_stored_told_to_both_and_answered_with_the_senders_number() -> None:
    async with logic() as node:
        await node.send_rows(message("bob", "d:bob|cid", "before"))
        sent = message("bob", "d:amy|bob", "hi", session="bobs", accepted_ms=5, trace="00-a-b-01")
        [outcome] = await node.send_rows(sent)
        assert outcome == logic_pb2.SendOutcome(seq=1, time_ms=1001, number=2)
        pushes = [push for push in await told(node, 4) if push.conversation == "d:amy|bob"]
        assert {user: number for push in pushes for user, number in zip(push.users, push.numbers, strict=True)} == {
            "amy": 1,
            "bob": 2,
        }
        for push in pushes:
            assert (push.except_session, push.accepted_ms, push.trace) == ("bobs", 5, "00-a-b-01")
            assert body(push) == client_pb2.Message(
                message_id=message_id("d:amy|bob", 1),
                conversation="d:amy|bob",
                seq=1,
                sender="bob",
                time_ms=1001,
                content=client_pb2.Content(text="hi"),
                kind=client_pb2.Message.NORMAL,
                client_id="bob-hi",
                ordinal=1,
            )


async def test_a_plain_batch_is_one_call_of_storage_and_one_record_for_each_node() -> None:
    async with logic() as node:
        node.storage.group("g:x", "amy", "bob", "cid")
        await node.send(message("amy", "g:x", "first"))
        node.parcels()
        node.storage.calls.clear()
        items = [message("amy", ("g:x", "d:amy|bob", "d:amy|amy")[number % 3], str(number)) for number in range(60)]
        outcomes = await node.send_rows(*items)
        assert node.storage.calls == [("StoreRows", 60)]
        assert [outcome.seq for outcome in outcomes] == [
            number // 3 + (2 if number % 3 == 0 else 1) for number in range(60)
        ]
        await told(node, 20 * (3 + 2 + 1))
        nodes = {node.view.ring("access").owner_of(user) for user in ("amy", "bob", "cid")}
        assert sum(len(partition.records) for partition in node.broker.topic("t.deliver")) == 2 * len(nodes)


async def test_no_event_is_published_of_a_plain_message() -> None:
    async with logic() as node:
        await node.send_rows(message("amy", "d:amy|bob", "hi"))
        await told(node, 2)
    assert node.events() == []


async def test_a_group_that_memory_does_not_know_takes_the_general_way_once() -> None:
    async with logic() as node:
        node.storage.group("g:x", "amy", "bob")
        first = await node.send_rows(message("amy", "g:x", "1"), message("amy", "d:amy|bob", "2"))
        assert [(outcome.seq, outcome.duplicate) for outcome in first] == [(1, False), (1, False)]
        assert sorted(node.storage.calls) == [("Load", 1), ("Store", 1), ("StoreRows", 1)]
        node.storage.calls.clear()
        [second] = await node.send_rows(message("bob", "g:x", "3"))
        assert (second.seq, second.number) == (2, 3)
        assert node.storage.calls == [("StoreRows", 1)]


async def test_rows_after_one_that_is_not_plain_follow_it_in_their_conversation() -> None:
    async with logic() as node:
        node.storage.group("g:x", "amy", "bob")
        await node.send(message("amy", "g:x", "0"))
        node.storage.conversations["g:x"].join("cid")
        sent = [message(user, "g:x", text) for user, text in (("amy", "1"), ("cid", "2"), ("amy", "3"))]
        outcomes = await node.send_rows(*sent, message("amy", "d:amy|bob", "4"))
        assert [outcome.seq for outcome in outcomes] == [2, 3, 4, 1]
        assert [item.client_id for item in node.storage.conversations["g:x"].messages] == [
            "amy-0",
            "amy-1",
            "cid-2",
            "amy-3",
        ]


@pytest.mark.parametrize("known", [True, False])
async def test_a_large_group_is_told_to_all_nodes(known: bool) -> None:
    async with logic() as node:
        node.storage.group("g:big", "amy", "bob", large_from=1)
        if known:
            await node.send(message("amy", "g:big", "0"))
            node.parcels()
        [outcome] = await node.send_rows(message("amy", "g:big", "1"))
        assert (outcome.seq, outcome.number) == (1 + known, 0)
        await node.all_told()
        [(topic, parcel)] = node.parcels()
        assert (topic, len(parcel.pushes)) == ("t.broadcast", 1)


async def test_what_is_not_allowed_is_refused_and_its_neighbours_are_stored_once() -> None:
    async with logic() as node:
        outcomes = await node.send_rows(
            message("amy", "d:amy|bob", "1"),
            message("eve", "d:amy|bob", "2"),
            message("amy", "b:all", "3"),
            message("amy", "g:none", "4"),
            message("amy", "d:amy|bob", "5"),
            message("amy", "x", "6"),
        )
        assert fault_codes(outcomes) == ["", "FORBIDDEN", "FORBIDDEN", "NOT_FOUND", "", "BAD_REQUEST"]
        assert [(outcomes[place].seq, outcomes[place].duplicate) for place in (0, 4)] == [(1, False), (2, False)]
        assert len(node.storage.conversations["d:amy|bob"].messages) == 2


async def test_a_repeat_alone_is_a_duplicate_and_what_was_stored_first_is_told_again() -> None:
    async with logic() as node:
        await node.send_rows(message("amy", "d:amy|bob", "one", client_id="c"))
        await told(node, 2)
        again = message("amy", "d:amy|bob", "other", client_id="c")
        outcomes = await node.send_rows(message("amy", "d:amy|bob", "two"), again, message("amy", "d:amy|cid", "three"))
        assert [(outcome.seq, outcome.duplicate, outcome.number) for outcome in outcomes] == [
            (2, False, 2),
            (1, True, 1),
            (1, False, 3),
        ]
        pushes = await told(node, 6)
        assert sorted({(body(push).content.text, push.conversation) for push in pushes}) == [
            ("one", "d:amy|bob"),
            ("three", "d:amy|cid"),
            ("two", "d:amy|bob"),
        ]


async def test_a_group_that_changed_is_decided_again_and_nobody_else() -> None:
    async with logic() as node:
        node.storage.group("g:x", "amy", "bob")
        await node.send(message("amy", "g:x", "0"))
        node.storage.conversations["g:x"].join("cid")
        before = metrics.STALE_DECISIONS.labels("send")._value.get()
        outcomes = await node.send_rows(message("amy", "g:x", "1"), message("amy", "d:amy|bob", "2"))
        assert [(outcome.seq, outcome.duplicate) for outcome in outcomes] == [(2, False), (1, False)]
        assert node.storage.inboxes["cid"] == [("g:x", 2)]
        assert metrics.STALE_DECISIONS.labels("send")._value.get() == before + 1
        assert node.storage.count("Store") == 2, "one more for what was stale"


async def test_who_is_out_of_a_group_is_refused_as_storage_says_now() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob")
        await node.send(message("amy", "g:x", "0"))
        del there.members["bob"]
        there.record.version += 1
        outcomes = await node.send_rows(message("bob", "g:x", "1"), message("amy", "g:x", "2"))
        assert fault_codes(outcomes) == ["FORBIDDEN", ""]
        assert outcomes[1].seq == 2


async def test_a_reply_travels_and_one_to_nothing_is_refused() -> None:
    async with logic() as node:
        [first] = await node.send_rows(message("amy", "d:amy|bob", "1"))
        good, bad = await node.send_rows(
            message("bob", "d:amy|bob", "2", reply_to=first.seq), message("bob", "d:amy|bob", "3", reply_to=9)
        )
        assert (good.seq, bad.fault.code) == (2, "BAD_REQUEST")
        assert [item.reply_to for item in node.storage.conversations["d:amy|bob"].messages] == [0, 1]


async def test_a_storage_that_is_away_is_told_to_come_again() -> None:
    async with logic() as node:
        node.storage.fail["StoreRows"] = [Unavailable("storage is away", 700)]
        outcomes = await node.send_rows(message("amy", "d:amy|bob", "1"), message("amy", "d:amy|cid", "2"))
        assert [(each.fault.code, each.fault.retry_after_ms) for each in outcomes] == [("UNAVAILABLE", 700)] * 2
        assert node.storage.calls == [("StoreRows", 2)]
    assert node.parcels() == []


async def test_what_a_node_of_storage_cannot_do_as_columns_is_done_as_items() -> None:
    """A node of an older version does not know the call; and a defect is found at the row that it is of."""
    async with logic() as node:
        node.storage.fail["StoreRows"] = [Internal("the node does not know Storage/StoreRows")]
        outcomes = await node.send_rows(message("amy", "d:amy|bob", "1"), message("amy", "d:amy|cid", "2"))
        assert [(outcome.seq, outcome.duplicate) for outcome in outcomes] == [(1, False), (1, False)]


@pytest.mark.parametrize(
    ("error", "code"), [(Unavailable("no primary", 70), "UNAVAILABLE"), (Forbidden("not by this one"), "")]
)
async def test_a_row_that_storage_failed_to_store_comes_again_or_is_asked_about_again(
    error: Exception, code: str
) -> None:
    async with logic() as node:
        store = node.storage._store_one
        node.storage._storerows(  # the first is there
            storage_pb2.StoreColumns()
        )
        failed = storage_pb2.StoreOutcome(status=storage_pb2.StoreOutcome.FAILED, fault=to_fault(error))  # type: ignore[arg-type]
        answers = iter([failed])
        node.storage._store_one = lambda item: next(answers, None) or store(item)  # type: ignore[method-assign]
        outcomes = await node.send_rows(message("amy", "d:amy|bob", "1"), message("amy", "d:amy|cid", "2"))
        assert fault_codes(outcomes) == [code, ""]
        assert outcomes[1].duplicate is False


async def test_with_a_hook_every_row_is_offered_to_it_and_what_it_holds_is_pending() -> None:
    endpoint = Deciding("slow")
    async with hooks(endpoint) as opened, logic(hooks=opened) as node:
        slow = message("amy", "d:amy|bob", "slow")
        first, second = await node.send_rows(slow, message("amy", "d:amy|eve", "quick"))
        assert (first.pending, second.pending, second.seq) == (True, False, 1)
        endpoint.decide("slow")
        [outcome] = await until_answered(node, slow)
        assert (outcome.seq, outcome.duplicate) == (1, False)
        assert node.storage.count("StoreRows") == 0


async def test_sending_past_unread_messages_is_told_as_a_receipt() -> None:
    async with logic() as node:
        await node.send_rows(message("amy", "d:amy|bob", "1"))
        await told(node, 2)
        node.storage.read_over = True
        await node.send_rows(message("amy", "d:amy|cid", "x", session="amys"), message("bob", "d:amy|bob", "2"))
    receipts = node.pushes(Push.RECEIPT)
    assert {client_pb2.Receipt.FromString(push.body).user for push in receipts} == {"amy", "bob"}
    [mine] = {push.body for push in receipts if push.except_session == "amys"}
    assert client_pb2.Receipt.FromString(mine) == client_pb2.Receipt(
        conversation="d:amy|cid", user="amy", delivered_seq=1, read_seq=1
    )


async def test_the_fan_out_of_each_message_is_measured() -> None:
    before = metrics.FANOUT._sum.get()
    async with logic() as node:
        await node.send_rows(message("amy", "d:amy|bob", "1"), message("amy", "d:amy|amy", "2"))
    assert metrics.FANOUT._sum.get() == before + 3


async def test_an_answer_does_not_wait_for_kafka_until_too_many_wait_for_it() -> None:
    async with logic() as node:
        kafka = asyncio.Event()
        publish = node.bus.publish

        async def slowly(records: list[object]) -> None:
            await kafka.wait()
            await publish(records)  # type: ignore[arg-type]

        node.bus.publish = slowly  # type: ignore[method-assign,assignment]
        for number in range(publisher.AHEAD_MAX + 1):
            await node.send_rows(message("amy", "d:amy|bob", str(number)))
            await asyncio.sleep(0)
        late = asyncio.create_task(node.send_rows(message("amy", "d:amy|bob", "late")))
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(node.storage.conversations["d:amy|bob"].messages) == publisher.AHEAD_MAX + 2
        assert not late.done(), "it is stored, and held back"
        kafka.set()
        await late
        await told(node, 2 * (publisher.AHEAD_MAX + 2))


async def test_messages_keep_their_order_on_their_way_to_a_node_whichever_way_they_were_sent() -> None:
    async with logic() as node:
        for number in range(0, 30, 2):
            await node.send_rows(message("amy", "d:amy|bob", str(number)))
            await node.send(message("amy", "d:amy|bob", str(number + 1)))
        pushes = await told(node, 60)
    for user in ("amy", "bob"):
        assert [body(push).seq for push in pushes if user in push.users] == list(range(1, 31))


async def test_columns_that_are_not_aligned_are_a_defect() -> None:
    async with logic() as node:
        columns = columns_of([message("amy", "d:amy|bob", "1")])
        columns.client_ids.append("another")
        with pytest.raises(ValueError, match="not aligned"):
            await node.rows.send(columns)


async def test_columns_may_leave_out_what_they_have_nothing_to_say_of() -> None:
    async with logic() as node:
        columns = columns_of([message("amy", "d:amy|bob", "1")])
        for name in ("sessions", "accepted_ms"):
            columns.ClearField(name)
        [outcome] = outcomes_of(await node.rows.send(columns))
        assert outcome.seq == 1
        assert {(push.except_session, push.accepted_ms) for push in await told(node, 2)} == {("", 0)}


async def test_nothing_to_send_is_no_call() -> None:
    async with logic() as node:
        assert await node.rows.send(logic_pb2.SendColumns()) == logic_pb2.SentColumns()
        assert node.storage.calls == []


async def test_what_columns_have_a_defect_with_goes_the_general_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async with logic() as node:

        def broken(*_: object) -> None:
            raise KeyError("bad")

        monkeypatch.setattr("services.logic.messages.rows.plan_rows", broken)
        columns = columns_of([message("amy", "d:amy|bob", "1"), message("eve", "d:amy|bob", "2")])
        outcomes = outcomes_of(await node.rows.send_generally(columns))
        assert (outcomes[0].seq, outcomes[1].fault.code) == (1, "FORBIDDEN")
