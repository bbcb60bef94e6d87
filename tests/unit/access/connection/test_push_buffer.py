"""What comes before the welcome goes out after it."""

from __future__ import annotations

from google.protobuf.message import Message

from services.access.connection.push_buffer import EARLY_MAX, PushBuffer
from tidings_protocol import client_pb2
from tidings_protocol.wire.body import EncodedBody


def body(message: Message) -> EncodedBody:
    return EncodedBody.of(message)


MESSAGE, RECEIPT = body(client_pb2.Message(seq=1)), body(client_pb2.Receipt())


def test_messages_that_a_sync_does_not_bring_come_in_inbox_order() -> None:
    early = PushBuffer()
    for number in (9, 7, 0, 5):
        early.add(number, MESSAGE)
    early.add(0, RECEIPT)
    assert [number for number, _ in early.messages_after(6)] == [0, 7, 9]
    assert early.others() == [RECEIPT]


def test_what_does_not_fit_shows_by_its_number() -> None:
    early = PushBuffer()
    for number in range(1, EARLY_MAX + 1):
        early.add(number, MESSAGE)
    assert early.dropped == 0
    early.add(200, MESSAGE)
    early.add(100, MESSAGE)
    assert (early.dropped, len(early.pushes)) == (200, EARLY_MAX)
