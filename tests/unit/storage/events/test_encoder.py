"""What an event is on the wire: the message as its recipients get it, and what beside."""

from __future__ import annotations

from protos.tidings.internal.v1.storage_pb2 import ChangeItem
from protos.tidings.v1 import events_pb2
from services.storage.events import encoder as module
from services.storage.events.encoder import EventEncoder
from services.storage.events.port import FedChange, FedRow
from services.storage.memory.conversation import CachedConversation
from services.storage.repository.records import CHANGE, NORMAL, SYSTEM, ConversationDocument, StoredMessage
from tests.unit.storage.nodes import content_of
from tidings_protocol import client_pb2
from tidings_protocol.ids import kind_of, message_id

CHAT = "d:ann|bob"
TRACE = "00-11111111111111111111111111111111-2222222222222222-01"


def row(seq: int, recipients: tuple[str, ...] = ("ann", "bob"), *, key: str = CHAT, trace: str = "") -> FedRow:
    conversation = CachedConversation(key, kind_of(key), ConversationDocument(key, 1))
    message = StoredMessage(key, seq, "ann", f"c{seq}", 1000 + seq, content_of(f"text {seq}"))
    return FedRow(conversation, message, recipients, trace)


def event_of(item: FedRow | FedChange, encoder: EventEncoder | None = None) -> list[events_pb2.Event]:
    records = (encoder or EventEncoder("events", "here")).records([item])
    assert all((each.topic, each.key) == ("events", item.conversation.id.encode()) for each in records)
    return [events_pb2.Event.FromString(each.value) for each in records]


def test_a_message_is_an_event_with_all_that_its_recipients_get() -> None:
    assert event_of(row(7, trace=TRACE)) == [
        events_pb2.Event(
            conversation=CHAT,
            time_ms=1007,
            cluster="here",
            message=client_pb2.Message(
                message_id=message_id(CHAT, 7),
                conversation=CHAT,
                seq=7,
                sender="ann",
                time_ms=1007,
                kind=NORMAL,  # type: ignore[arg-type]
                client_id="c7",
                content=client_pb2.Content(text="text 7"),
                ordinal=7,
            ),
            recipients=["ann", "bob"],
            trace=TRACE,
        )
    ]


def test_the_trace_is_a_header_too() -> None:
    [record] = EventEncoder("events", "here").records([row(1, trace=TRACE)])
    assert dict(record.headers)["traceparent"] == TRACE.encode()
    [record] = EventEncoder("events", "here").records([row(1)])
    assert "traceparent" not in dict(record.headers)


def test_what_a_record_is_stands_in_a_header_of_it() -> None:
    change = row(2)
    change = change._replace(message=change.message._replace(kind=CHANGE), told=b"", trace=TRACE)
    notice = row(3)
    carried = ChangeItem(op="1", acts=[events_pb2.Membership(act="add").SerializeToString()]).SerializeToString()
    notice = notice._replace(message=notice.message._replace(kind=SYSTEM, change=carried))
    apart = FedChange(notice.conversation, 1, [events_pb2.Membership(act="join").SerializeToString()], 5)
    records = EventEncoder("events", "here").records([row(1), change, notice, apart])
    types = [[value for name, value in record.headers if name == "type"] for record in records]
    assert types == [[b"message"], [b"change"], [b"message"], [b"membership"], [b"membership"]]


def test_what_is_not_plain_is_told_as_it_is_shown() -> None:
    told = client_pb2.Message(conversation=CHAT, seq=2, state=client_pb2.State(recalled_by="ann"))
    [event] = event_of(row(2)._replace(told=told.SerializeToString()))
    assert event.message == told


def test_what_is_remembered_of_a_conversation_holds_for_its_present_recipients_only() -> None:
    encoder = EventEncoder("events", "here")
    for users in (("ann", "bob"), ("ann", "bob", "cid"), (), ("ann", "bob")):
        [event] = event_of(row(1, users, key="g:1"), encoder)
        assert tuple(event.recipients) == users


def test_what_is_remembered_is_bounded() -> None:
    encoder = EventEncoder("events", "here")
    users = tuple(f"user{number}" for number in range(200))
    for number in range(1000):
        encoder.records([row(1, users, key=f"g:{number}")])
    assert sum(len(known.head) for known in encoder._known.values()) * 8 <= module.KNOWN_BYTES_MAX


def test_the_first_notice_of_a_change_is_followed_by_the_acts_of_the_change() -> None:
    act = events_pb2.Membership(act="add", by="ann", users=["cid"])
    carried = ChangeItem(op="1", acts=[act.SerializeToString()]).SerializeToString()
    notice = row(3)
    notice = notice._replace(message=notice.message._replace(kind=SYSTEM, change=carried))
    message, told = event_of(notice)
    assert message.message.kind == SYSTEM
    assert told == events_pb2.Event(conversation=CHAT, time_ms=1003, cluster="here", membership=act)


def test_a_change_without_notice_is_an_event_for_each_act() -> None:
    conversation = row(1, key="g:1").conversation
    acts = [events_pb2.Membership(act="join", by=user) for user in ("bob", "cid")]
    told = event_of(FedChange(conversation, 4, [act.SerializeToString() for act in acts], 99))
    assert [each.membership for each in told] == acts
    assert {(each.time_ms, each.conversation) for each in told} == {(99, "g:1")}


def test_what_is_not_plain_is_told_as_all_are_told_of_it() -> None:
    told = client_pb2.Message(conversation=CHAT, seq=7, kind=client_pb2.Message.CHANGE)
    [event] = event_of(row(7)._replace(told=told.SerializeToString()))
    assert event.message == told
