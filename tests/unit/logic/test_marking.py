"""Cursors move, and the others hear of it."""

from __future__ import annotations

import asyncio

import pytest

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from tests.unit.logic.harness import Logic, logic, message
from tidings_protocol import client_pb2
from tidings_protocol.errors import Forbidden, Unavailable

Receipt = client_pb2.Receipt


def told(node: Logic) -> list[tuple[client_pb2.Receipt, set[str], str]]:
    """(receipt, who gets it, which connection does not), one for each receipt."""
    found: dict[bytes, tuple[client_pb2.Receipt, set[str], str]] = {}
    for push in node.pushes(delivery_pb2.Push.RECEIPT):
        receipt, users, session = found.get(push.body, (Receipt.FromString(push.body), set(), push.except_session))
        found[push.body] = (receipt, users | set(push.users), session)
    return list(found.values())


async def test_what_is_read_is_told_to_the_peer_and_the_readers_other_devices() -> None:
    async with logic() as node:
        await node.send(message("amy", "d:amy|bob", "hi"))
        assert (await node.ask("bob", read=client_pb2.Read(conversation="d:amy|bob", seq=1))).HasField("ok")
    assert told(node) == [
        (Receipt(conversation="d:amy|bob", user="bob", delivered_seq=1, read_seq=1), {"amy", "bob"}, "bob-session")
    ]


async def test_reading_again_is_ok_and_told_to_nobody() -> None:
    async with logic() as node:
        await node.send(message("amy", "d:amy|bob", "hi"))
        await node.ask("bob", read=client_pb2.Read(conversation="d:amy|bob", seq=1))
        assert (await node.ask("bob", read=client_pb2.Read(conversation="d:amy|bob", seq=1))).HasField("ok")
    assert len(told(node)) == 1


async def test_a_group_hears_of_its_readers_a_large_one_does_not() -> None:
    async with logic() as node:
        node.storage.group("g:x", "amy", "bob", "cleo")
        node.storage.group("g:big", "amy", "bob", "cleo", large_from=1)
        for conversation in ("g:x", "g:big"):
            await node.send(message("amy", conversation, "hi"))
            assert (await node.ask("bob", read=client_pb2.Read(conversation=conversation, seq=1))).HasField("ok")
    assert {(receipt.conversation, frozenset(users)) for receipt, users, _ in told(node)} == {
        ("g:x", frozenset({"amy", "bob", "cleo"})),
        ("g:big", frozenset({"bob"})),
    }


async def test_a_receipt_goes_to_those_who_are_members_now() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob")
        await node.send(message("amy", "g:x", "hi"))
        there.join("cleo")
        await node.ask("bob", read=client_pb2.Read(conversation="g:x", seq=1))
    assert [users for _, users, _ in told(node)] == [{"amy", "bob", "cleo"}]


async def test_many_reads_within_a_second_are_two_receipts_and_the_last_state() -> None:
    async with logic() as node:
        await node.send(*[message("amy", "d:amy|bob", str(number)) for number in range(9)])
        reads = [("bob", "", {"read": client_pb2.Read(conversation="d:amy|bob", seq=seq)}) for seq in range(1, 9)]
        await node.ask_all(*reads[:1])
        await node.ask_all(*reads[1:])
    assert [receipt.read_seq for receipt, _, _ in told(node)][-1] == 8
    assert len(told(node)) <= 2


async def test_what_storage_marked_along_with_an_acknowledgement_is_not_marked_again() -> None:
    async with logic() as node:
        await node.send(message("amy", "d:amy|bob", "hi"), message("cleo", "d:bob|cleo", "hi"))
        node.storage.delivered["bob"] = [("d:amy|bob", 1), ("d:bob|cleo", 1)]
        node.storage.marked_along = {"d:amy|bob"}
        await node.cursors.acknowledge([logic_pb2.AckItem(user="bob", device="phone", session="s9", number=2)])
        assert node.storage.calls[-3:] == [("Acknowledge", 1), ("Mark", 1), ("Acknowledge", 1)]
        node.storage.delivered["bob"] = [("d:amy|bob", 1)]
        await node.cursors.acknowledge([logic_pb2.AckItem(user="bob", device="phone", session="s9", number=2)])
        assert node.storage.calls[-1] == ("Acknowledge", 1)
    assert told(node) == [
        (Receipt(conversation="d:amy|bob", user="bob", delivered_seq=1), {"amy", "bob"}, "s9"),
        (Receipt(conversation="d:bob|cleo", user="bob", delivered_seq=1), {"bob", "cleo"}, "s9"),
    ]


async def test_what_devices_hold_is_told_as_delivered() -> None:
    async with logic() as node:
        await node.send(message("amy", "d:amy|bob", "hi"))
        node.storage.delivered["bob"] = [("d:amy|bob", 1)]
        await node.cursors.acknowledge([logic_pb2.AckItem(user="bob", device="phone", session="s9", number=1)])
        assert node.storage.calls[-3:] == [("Acknowledge", 1), ("Mark", 1), ("Acknowledge", 1)]
    assert told(node) == [(Receipt(conversation="d:amy|bob", user="bob", delivered_seq=1), {"amy", "bob"}, "s9")]
    assert [event.receipt.delivered_seq for event in node.events() if event.HasField("receipt")] == [1]


async def test_an_ack_that_changes_nothing_asks_for_nothing_more() -> None:
    async with logic() as node:
        await node.cursors.acknowledge([logic_pb2.AckItem(user="bob", device="phone", number=1)])
        assert node.storage.calls == [("Acknowledge", 1)]


async def test_acks_that_storage_did_not_take_are_to_be_sent_again() -> None:
    async with logic() as node:
        node.storage.fail["Acknowledge"] = [Unavailable("away")]
        with pytest.raises(Unavailable):
            await node.cursors.acknowledge([logic_pb2.AckItem(user="bob", device="phone", number=1)])


async def test_an_ack_of_which_something_could_not_be_marked_is_to_be_sent_again_and_then_told() -> None:
    async with logic() as node:
        await node.send(message("amy", "d:amy|bob", "hi"), message("cleo", "d:cleo|dan", "hi"))
        node.storage.delivered = {"bob": [("d:amy|bob", 1)], "dan": [("d:cleo|dan", 1)]}
        acks = [logic_pb2.AckItem(user=user, device="phone", session=user, number=1) for user in ("bob", "dan")]
        node.storage.fail["Mark"] = [Unavailable("away")]
        with pytest.raises(Unavailable):
            await node.cursors.acknowledge(acks)
        assert node.storage.calls[-2:] == [("Acknowledge", 2), ("Mark", 2)], "nothing was noted"
        await node.cursors.acknowledge(acks)
        assert node.storage.calls[-3:] == [("Acknowledge", 2), ("Mark", 2), ("Acknowledge", 2)]
    assert {receipt.user for receipt, _, _ in told(node)} == {"bob", "dan"}


async def test_an_ack_for_a_group_that_one_has_left_is_done() -> None:
    async with logic() as node:
        node.storage.group("g:x", "amy", "bob")
        await node.send(message("amy", "g:x", "hi"))
        node.storage.delivered["eve"] = [("g:x", 1)]
        node.storage.fail["Mark"] = [Forbidden("you are not a member of g:x")]
        await node.cursors.acknowledge([logic_pb2.AckItem(user="eve", device="phone", number=1)])
        assert node.storage.calls[-3:] == [("Acknowledge", 1), ("Mark", 1), ("Acknowledge", 1)]
    assert told(node) == []


async def test_a_receipt_whose_members_cannot_be_had_is_told_to_all_of_them_later() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob", "cleo")
        await node.send(message("amy", "g:x", "hi"))
        there.join("dan")
        node.storage.fail["Load"] = [Unavailable("away")]
        await node.ask("bob", read=client_pb2.Read(conversation="g:x", seq=1))
        async with asyncio.timeout(5):
            while node.storage.fail["Load"]:  # noqa: ASYNC110 - until it was tried
                await asyncio.sleep(0)
        assert told(node) == []
    assert [(receipt.read_seq, users) for receipt, users, _ in told(node)] == [(1, {"amy", "bob", "cleo", "dan"})]


async def test_a_strangers_direct_chat_cannot_be_read() -> None:
    async with logic() as node:
        replies = await node.ask_all(
            ("eve", "", {"read": client_pb2.Read(conversation="d:amy|bob", seq=1)}),
            ("bob", "", {"read": client_pb2.Read(conversation="d:bob|amy", seq=1)}),
            ("bob", "", {"read": client_pb2.Read(conversation="d:amy|bob", seq=1)}),
        )
        assert [reply.error.code for reply in replies] == ["FORBIDDEN", "BAD_REQUEST", ""]
        assert node.storage.calls == [("Mark", 1)]


async def test_a_mark_that_storage_refuses_is_told_to_the_reader() -> None:
    async with logic() as node:
        node.storage.fail["Mark"] = [Unavailable("away", 250)]
        reply = await node.ask("bob", read=client_pb2.Read(conversation="d:amy|bob", seq=1))
        assert (reply.error.code, reply.error.retry_after_ms) == ("UNAVAILABLE", 250)
