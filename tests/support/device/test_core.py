"""What the conformance device decides; what it does on sockets is shown by all who use it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.device.core import Accepted, Answered, DeviceCore, Rejected, Restarted, Shown
from tidings_protocol.client_pb2 import Deliver, Entry, Error, Message, Page, Sent, ServerFrame, Welcome


def entry(number: int) -> Entry:
    return Entry(number=number, message=Message(conversation="d:a|b", seq=number, message_id=str(number)))


def deliver(*numbers: int) -> ServerFrame:
    return ServerFrame(deliver=Deliver(entries=[entry(number) for number in numbers]))


def shown(core: DeviceCore, frame: ServerFrame, now: float = 0.0) -> list[int]:
    return [event.message.seq for event in core.receive(frame, now) if isinstance(event, Shown)]


@given(st.permutations(range(1, 8)), st.lists(st.integers(1, 7)))
def test_entries_are_shown_once_and_in_order_whatever_the_order_they_come_in(
    order: list[int], again: list[int]
) -> None:
    core = DeviceCore("phone")
    assert [seq for number in [*again, *order] for seq in shown(core, deliver(number))] == list(range(1, 8))
    assert core.cursor == core.head == 7


def test_a_gap_is_waited_for_and_then_synced_page_by_page() -> None:
    core = DeviceCore("phone", gap_s=0.4, ack_s=9.0)
    shown(core, deliver(3))
    assert core.due(1.0) == []
    (sync,) = core.due(1.5)
    assert sync.sync.after == 0
    assert core.due(5.0) == [], "one sync at a time"
    first = ServerFrame(id=sync.id, page=Page(entries=[entry(1)], next=1, head=3, more=True))
    assert shown(core, first, 5.0) == [1]
    (sync,) = core.due(5.0)
    assert sync.sync.after == 1
    assert shown(core, ServerFrame(id=sync.id, page=Page(entries=[entry(2)], next=2, head=3)), 5.0) == [2, 3]


def test_what_a_page_leaves_out_is_gone_and_not_waited_for() -> None:
    core = DeviceCore("phone", ack_s=9.0)
    core.receive(ServerFrame(welcome=Welcome(inbox_head=3)), 0.0)
    (sync,) = core.due(0.0)
    assert shown(core, ServerFrame(id=sync.id, page=Page(entries=[entry(2)], next=3, head=3))) == [2]
    assert (core.cursor, core.settled) == (3, True)


def test_one_send_at_a_time_keeps_the_order_over_refusals_and_connections() -> None:
    core = DeviceCore("phone", sends_at_once=1)
    core.post("1", "d:a|b", "one")
    core.post("2", "d:a|b", "two")
    (first,) = core.due(0.0)
    assert first.send.client_id == "1"
    assert core.receive(ServerFrame(id=first.id, error=Error(code="OVERLOADED", retry_after_ms=500)), 0.0) == []
    assert core.due(0.4) == []
    (again,) = core.due(0.6)
    assert again.send.client_id == "1"
    core.lost()
    (again,) = core.due(0.7)
    accepted, *_ = core.receive(ServerFrame(id=again.id, sent=Sent(client_id="1", number=1)), 0.7)
    assert isinstance(accepted, Accepted)
    assert accepted.is_first
    assert core.cursor == 1, "its own place in the inbox is held, and not shown"
    assert [frame.send.client_id for frame in core.due(0.7) if frame.HasField("send")] == ["2"]


def test_a_refusal_without_a_time_is_for_good() -> None:
    core = DeviceCore("phone")
    core.post("1", "d:a|b", "one")
    (send,) = core.due(0.0)
    (rejected,) = core.receive(ServerFrame(id=send.id, error=Error(code="FORBIDDEN")), 0.0)
    assert isinstance(rejected, Rejected)
    assert core.settled


def test_an_answer_that_does_not_come_makes_it_late_until_the_connection_is_lost() -> None:
    core = DeviceCore("phone", answer_s=8.0)
    core.post("1", "d:a|b", "one")
    core.due(1.0)
    assert not core.is_late(9.0)
    assert core.is_late(9.1)
    core.lost()
    assert not core.is_late(99.0)


def test_other_data_than_before_begin_at_nothing() -> None:
    core = DeviceCore("phone", cursor=9, head=9, group_cursors={"g:1": 4})
    hello = core.hello("token", 0.0)
    assert hello.hello.cursor == 9
    events = core.receive(ServerFrame(id=hello.id, welcome=Welcome(reset=True, epoch="new", inbox_head=2)), 0.0)
    assert [type(event) for event in events] == [Restarted, Answered]
    assert core.hello("token", 0.0).hello.epoch == "new"
    (sync,) = [frame for frame in core.due(0.0) if frame.HasField("sync")]
    assert (sync.sync.after, core.group_cursors) == (0, {})


def test_a_group_behind_its_head_is_read_by_history() -> None:
    core = DeviceCore("phone")
    core.receive(ServerFrame(welcome=Welcome(group_heads={"g:1": 3})), 0.0)
    (read,) = core.due(0.0)
    assert (read.history.conversation, read.history.after) == ("g:1", 0)
    page = Page(entries=[Entry(message=Message(conversation="g:1", seq=3))], next=3)
    core.receive(ServerFrame(id=read.id, page=page), 0.0)
    assert core.settled, "what lies before the joining is not to be read"


def test_a_patient_one_writes_what_it_has_in_one_burst_after_the_answer() -> None:
    core = DeviceCore("phone", patient=True, ack_s=9.0)
    core.receive(ServerFrame(welcome=Welcome(inbox_head=1)), 0.0)
    (sync,) = core.due(0.0)
    core.post("1", "d:a|b", "one")
    core.post("2", "d:a|b", "two")
    assert core.due(1.0) == []
    core.receive(ServerFrame(id=sync.id, page=Page(entries=[entry(1)], next=1, head=1)), 1.0)
    assert [frame.send.client_id for frame in core.due(1.0)] == ["1", "2"]
