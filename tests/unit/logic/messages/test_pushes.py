"""What is told of a message that was stored."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2
from services.logic.messages.pushes import message_pushes
from tidings_protocol import client_pb2

StoreOutcome = storage_pb2.StoreOutcome


def item(text: str, *recipients: str) -> storage_pb2.StoreItem:
    content = client_pb2.Content(text=text).SerializeToString()
    return storage_pb2.StoreItem(
        conversation="d:amy|bob", sender="amy", client_id="c", content=content, recipients=recipients, trace="tp"
    )


def test_each_recipient_has_its_number_and_the_sending_connection_no_copy() -> None:
    stored = StoreOutcome(status=StoreOutcome.STORED, seq=4, time_ms=9, numbers=[7, 8])
    [push] = message_pushes(item("hi", "amy", "bob"), stored, session="s", accepted_ms=5)
    assert (push.users, push.numbers, push.except_session) == (["amy", "bob"], [7, 8], "s")
    assert (push.conversation, push.trace, push.accepted_ms) == ("d:amy|bob", "tp", 5)
    message = client_pb2.Message.FromString(push.body)
    assert (message.seq, message.content.text) == (4, "hi")


def test_a_repeat_is_told_as_it_was_stored_first() -> None:
    first = StoreOutcome(
        status=StoreOutcome.DUPLICATE,
        seq=4,
        numbers=[7, 0],
        content=client_pb2.Content(text="first").SerializeToString(),
    )
    [push] = message_pushes(item("second", "amy", "eve"), first)
    assert client_pb2.Message.FromString(push.body).content.text == "first"
    assert (push.users, push.numbers) == (["amy"], [7]), "who came after it has no number"


def test_a_repeat_of_long_ago_is_no_push() -> None:
    old = StoreOutcome(status=StoreOutcome.DUPLICATE, seq=4, numbers=[0, 0])
    assert message_pushes(item("hi", "amy", "bob"), old) == []


def test_in_a_large_group_the_nodes_hear_who_gets_the_place_of_a_change_alone() -> None:
    outcome = storage_pb2.StoreOutcome(seq=9, message=b"entry", stubs=["bob"])
    change = storage_pb2.StoreItem(conversation="g:large", kind=3)
    [push] = message_pushes(change, outcome, session="s")
    assert (push.body, push.users, push.stub_users, push.except_session) == (b"entry", (), ["bob"], "s")
