"""Sends: permitted, stored, told, answered."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import delivery_pb2
from tests.unit.logic.harness import body, logic, message
from tidings_protocol import client_pb2
from tidings_protocol.errors import Unavailable
from tidings_protocol.ids import message_id
from tidings_protocol.wire.body import EncodedBody
from tidings_protocol.wire.codec import JSON, PROTO

Push = delivery_pb2.Push


async def test_a_direct_message_is_stored_told_to_both_and_answered_with_the_senders_number() -> None:
    async with logic() as node:
        [outcome] = await node.send(message("amy", "d:amy|bob", "hi", session="amys", accepted_ms=5))
        assert (outcome.seq, outcome.number, outcome.duplicate, outcome.time_ms) == (1, 1, False, 1001)
        assert not outcome.HasField("fault")
        pushes = node.pushes()
        assert {user: number for push in pushes for user, number in zip(push.users, push.numbers, strict=True)} == {
            "amy": 1,
            "bob": 1,
        }
        for push in pushes:
            assert (push.except_session, body(push).seq, push.accepted_ms, push.conversation) == (
                "amys",
                1,
                5,
                "d:amy|bob",
            )
            assert body(push) == client_pb2.Message(
                message_id=message_id("d:amy|bob", 1),
                conversation="d:amy|bob",
                seq=1,
                sender="amy",
                time_ms=1001,
                content=client_pb2.Content(text="hi"),
                kind=client_pb2.Message.NORMAL,
                client_id="amy-hi",
                ordinal=1,
            )


async def test_a_message_to_oneself_has_one_recipient() -> None:
    async with logic() as node:
        [outcome] = await node.send(message("amy", "d:amy|amy", "note"))
        assert outcome.number == 1
        assert [list(push.users) for push in node.pushes()] == [["amy"]]


async def test_a_batch_is_one_store_and_one_record_for_each_node() -> None:
    async with logic() as node:
        node.storage.group("g:x", *[f"user{number}" for number in range(5)])
        outcomes = await node.send(*[message("user0", "g:x", str(number)) for number in range(50)])
        assert [outcome.seq for outcome in outcomes] == list(range(1, 51))
        assert node.storage.calls == [("Load", 1), ("Store", 50)]
        assert len(node.parcels()) == 2
        await node.send(message("user1", "g:x", "again"))
        assert node.storage.calls[2:] == [("Store", 1)], "the group is known by now"


async def test_messages_keep_their_order_within_a_conversation() -> None:
    async with logic() as node:
        items = [message("amy", f"d:amy|{'bz'[number % 2]}", str(number)) for number in range(10)]
        outcomes = await node.send(*items)
        assert [outcome.seq for outcome in outcomes] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
        pushed = [body(push).content.text for push in node.pushes() if "b" in push.users]
        assert pushed == ["0", "2", "4", "6", "8"]


async def test_a_repeat_gives_the_first_outcome_and_pushes_what_was_stored_first() -> None:
    async with logic() as node:
        [first] = await node.send(message("amy", "d:amy|bob", "one", client_id="c"))
        node.pushes()
        [again] = await node.send(message("amy", "d:amy|bob", "changed my mind", client_id="c"))
        assert (again.seq, again.number, again.time_ms, again.duplicate) == (1, first.number, first.time_ms, True)
        assert {body(push).content.text for push in node.pushes()} == {"one"}
        assert len(node.storage.conversations["d:amy|bob"].messages) == 1


@pytest.mark.parametrize(("levels", "shown"), [(97, "hi"), (98, "hi"), (200, "")])
async def test_a_repeat_of_what_nobody_can_read_is_told_so_that_it_can_be_read(levels: int, shown: str) -> None:
    """Version 0.1.0 stored such messages."""
    async with logic() as node:
        item = message("amy", "d:amy|bob", "hi")
        item.content += b"\x7b" * levels + b"\x7c" * levels
        await node.send(item)
        node.parcels()
        [again] = await node.send(message("amy", "d:amy|bob", "hi"))
        assert again.duplicate
        push, *_ = node.pushes()
        for codec in (PROTO, JSON):
            frame = codec.decode_server(codec.deliver([(1, EncodedBody(client_pb2.Message, push.body))]))
            assert frame.deliver.entries[0].message.content.text == shown


async def test_a_repeat_of_long_ago_is_answered_but_not_told_to_everyone() -> None:
    async with logic() as node:
        await node.send(message("amy", "d:amy|bob", "one", client_id="c"))
        node.pushes()
        node.storage.inboxes.clear()
        [again] = await node.send(message("amy", "d:amy|bob", "one", client_id="c"))
        assert (again.seq, again.number, again.duplicate) == (1, 0, True)
        assert node.parcels() == []


async def test_a_repeat_is_not_pushed_to_who_came_after_it() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob")
        await node.send(message("amy", "g:x", "one", client_id="c"))
        node.pushes()
        there.join("late")
        node.loader.forget("g:x")
        await node.send(message("amy", "g:x", "one", client_id="c"))
        assert {user for push in node.pushes() for user in push.users} == {"amy", "bob"}


@pytest.mark.parametrize(
    ("sender", "conversation", "code"),
    [
        ("eve", "d:amy|bob", "FORBIDDEN"),
        ("amy", "b:all", "FORBIDDEN"),
        ("eve", "g:x", "FORBIDDEN"),
        ("amy", "g:none", "NOT_FOUND"),
        ("amy", "x:y", "BAD_REQUEST"),
    ],
)
async def test_what_is_not_allowed_is_refused_and_nothing_of_it_stored(
    sender: str, conversation: str, code: str
) -> None:
    async with logic() as node:
        node.storage.group("g:x", "amy")
        refused, stored = await node.send(message(sender, conversation, "no"), message("amy", "d:amy|bob", "yes"))
        assert refused.fault.code == code
        assert refused.fault.message
        assert stored.seq == 1
        assert {body(push).content.text for push in node.pushes()} == {"yes"}


async def test_nobody_is_refused_on_memory_alone() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy")
        await node.send(message("amy", "g:x", "one"))
        there.join("bob")
        [outcome] = await node.send(message("bob", "g:x", "two"))
        assert outcome.seq == 2


async def test_a_channel_that_memory_still_believes_in_is_asked_for_again() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob", channel=True)
        [refused] = await node.send(message("bob", "g:x", "one"))
        assert refused.fault.code == "FORBIDDEN"
        there.record.channel = False
        there.record.version += 1
        [outcome] = await node.send(message("bob", "g:x", "two"))
        assert outcome.seq == 1


async def test_a_stale_decision_is_made_again_with_the_new_members() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob")
        await node.send(message("amy", "g:x", "one"))
        there.join("cleo")
        node.pushes()
        [outcome] = await node.send(message("amy", "g:x", "two"))
        assert outcome.seq == 2
        assert "cleo" in {user for push in node.pushes() for user in push.users}


async def test_who_was_removed_meanwhile_is_refused_when_the_decision_is_made_again() -> None:
    async with logic() as node:
        there = node.storage.group("g:x", "amy", "bob")
        await node.send(message("bob", "g:x", "one"))
        del there.members["bob"]
        there.record.version += 1
        [outcome] = await node.send(message("bob", "g:x", "two"))
        assert outcome.fault.code == "FORBIDDEN"


async def test_a_group_that_changes_all_the_time_is_given_up_with_a_retry_time() -> None:
    async with logic() as node:
        node.storage.group("g:x", "amy")
        node.storage.stale = 100
        [outcome] = await node.send(message("amy", "g:x", "one"))
        assert outcome.fault.code == "UNAVAILABLE"
        assert outcome.fault.retry_after_ms > 0
        assert node.storage.count("Store") == 4


async def test_a_reply_to_what_is_not_there_is_refused() -> None:
    async with logic() as node:
        [outcome] = await node.send(message("amy", "d:amy|bob", "re", reply_to=3))
        assert outcome.fault.code == "BAD_REQUEST"
        assert "3" in outcome.fault.message


async def test_a_storage_that_does_not_answer_fails_only_what_it_was_asked() -> None:
    async with logic() as node:
        node.storage.fail["Store"] = [Unavailable("storage is away", 700)]
        [outcome] = await node.send(message("amy", "d:amy|bob", "one"))
        assert (outcome.fault.code, outcome.fault.retry_after_ms) == ("UNAVAILABLE", 700)
        assert node.parcels() == []


async def test_a_group_that_cannot_be_loaded_does_not_spoil_the_batch() -> None:
    async with logic() as node:
        node.storage.fail["Load"] = [Unavailable("storage is away"), Unavailable("storage is away")]
        group, direct = await node.send(message("amy", "g:x", "one"), message("amy", "d:amy|bob", "two"))
        assert group.fault.code == "UNAVAILABLE"
        assert direct.seq == 1


async def test_a_large_group_is_told_to_all_nodes_once_and_gives_no_number() -> None:
    async with logic() as node:
        node.storage.group("g:big", "amy", "bob", large_from=1)
        outcomes = await node.send(
            message("amy", "g:big", "1"), message("amy", "g:big", "2"), message("bob", "g:big", "3")
        )
        assert [(outcome.seq, outcome.number) for outcome in outcomes] == [(1, 0), (2, 0), (3, 0)]
        [(topic, parcel)] = node.parcels()
        assert topic == "t.broadcast"
        assert [(push.conversation, body(push).seq, len(push.users)) for push in parcel.pushes] == [
            ("g:big", 1, 0),
            ("g:big", 2, 0),
            ("g:big", 3, 0),
        ]


async def test_in_a_large_group_only_the_senders_are_asked_for() -> None:
    async with logic() as node:
        node.storage.group("g:big", *[f"user{number}" for number in range(50)], large_from=1)
        [outcome] = await node.send(message("user7", "g:big", "1"))
        assert outcome.seq == 1
        [stranger] = await node.send(message("eve", "g:big", "1"))
        assert stranger.fault.code == "FORBIDDEN"


async def test_events_of_messages_are_left_to_storage() -> None:
    async with logic() as node:
        node.storage.group("g:big", "amy", large_from=1)
        await node.send(message("amy", "d:amy|bob", "1"), message("amy", "g:big", "2"), message("eve", "g:big", "no"))
        assert {body(push).content.text for push in node.pushes()} == {"1", "2"}
        assert node.events() == []


async def test_sending_past_unread_messages_is_told_as_a_receipt_and_else_not() -> None:
    async with logic() as node:
        await node.send(message("amy", "d:amy|bob", "1"))
        node.parcels()
        node.storage.read_over = True
        await node.send(message("bob", "d:amy|bob", "2", session="bobs"))
    receipts = node.pushes(Push.RECEIPT)
    assert {user for push in receipts for user in push.users} == {"amy", "bob"}
    for push in receipts:
        assert push.except_session == "bobs"
        assert client_pb2.Receipt.FromString(push.body) == client_pb2.Receipt(
            conversation="d:amy|bob", user="bob", delivered_seq=2, read_seq=2
        )


async def test_the_operators_notice_goes_to_everyone() -> None:
    async with logic() as node:
        content = client_pb2.Content(text="maintenance").SerializeToString()
        outcome = await node.sender.announce(content, "n1")
        again = await node.sender.announce(content, "n1")
        assert (outcome.seq, again.seq) == (1, 1)
        pushes = node.pushes()
        assert [(push.conversation, len(push.users)) for push in pushes] == [("b:all", 0)] * 2
        assert (body(pushes[0]).sender, body(pushes[0]).kind) == ("tidings", client_pb2.Message.SYSTEM)
