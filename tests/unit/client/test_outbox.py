"""Requests on their way: order, repetition, giving up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings import Busy, ClientClosed, Forbidden, Internal, NoAnswer, NotConnected, TooLarge
from tidings.core.messages.outbox import ANSWER_S, FLIGHT_MAX, Outbox
from tidings.core.signals import Done, Failed, Submit
from tidings_protocol import client_pb2 as pb


def _outbox(*, capacity: int = 1000, pipeline: int = 1) -> Outbox:
    return Outbox(lambda: 0.0, capacity=capacity, pipeline=pipeline)


def _send(ticket: int, lane: str = "d:a|b", timeout_s: float | None = None, text: str = "x") -> Submit:
    frame = pb.ClientFrame(send=pb.Send(client_id=f"c{ticket}", conversation=lane, content=pb.Content(text=text)))
    return Submit(ticket, frame, lane, timeout_s=timeout_s)


def _out(outbox: Outbox, now: float = 0.0) -> list[pb.ClientFrame]:
    frames = list(outbox.flush(now))
    assert all(isinstance(frame, pb.ClientFrame) for frame in frames)
    return frames  # type: ignore[return-value]


def _sent(frame: pb.ClientFrame) -> pb.ServerFrame:
    return pb.ServerFrame(id=frame.id, sent=pb.Sent(client_id=frame.send.client_id, seq=1))


def _error(frame: pb.ClientFrame, code: str, retry_after_ms: int = 0) -> pb.ServerFrame:
    return pb.ServerFrame(id=frame.id, error=pb.Error(code=code, message="no", retry_after_ms=retry_after_ms))


def test_one_conversation_waits_for_each_answer_and_others_do_not() -> None:
    outbox = _outbox()
    for ticket, lane in ((1, "a"), (2, "a"), (3, "b")):
        outbox.submit(_send(ticket, lane), 0.0)
    first, other = _out(outbox)
    assert [first.send.client_id, other.send.client_id] == ["c1", "c3"]
    outbox.answered(_sent(first), 0.0)
    assert [frame.send.client_id for frame in _out(outbox)] == ["c2"]


def test_a_retry_keeps_its_client_id_and_its_place_before_later_ones() -> None:
    outbox = _outbox()
    outbox.submit(_send(1), 0.0)
    outbox.submit(_send(2), 0.0)
    (first,) = _out(outbox)
    assert outbox.answered(_error(first, "OVERLOADED", 500), 0.0) is None
    assert _out(outbox, 0.4) == []
    (again,) = _out(outbox, 0.5)
    assert again.send.client_id == "c1"
    assert again.id != first.id


def test_what_the_lost_connection_had_not_answered_goes_out_again_in_order() -> None:
    outbox = _outbox(pipeline=3)
    for ticket in (1, 2, 3, 4):
        outbox.submit(_send(ticket), 0.0)
    assert len(_out(outbox)) == 3
    outbox.lost(1.0)
    assert [frame.send.client_id for frame in _out(outbox, 1.0)] == ["c1", "c2", "c3"]


def test_the_end_of_the_session_is_no_answer_to_what_the_library_itself_asked() -> None:
    outbox = _outbox()
    outbox.submit(_send(1), 0.0)
    outbox.submit(Submit(-1, pb.ClientFrame(history=pb.History(conversation="g:1", after=3))), 0.0)
    _out(outbox)
    assert [failed.ticket for failed in outbox.close(ClientClosed("closed"))] == [1]


def test_a_group_that_is_being_made_is_asked_for_again_with_the_same_client_id() -> None:
    outbox = _outbox()
    create = pb.ClientFrame(group=pb.GroupRequest(create=pb.GroupRequest.Create(name="g", client_id="c")))
    outbox.submit(Submit(1, create), 0.0)
    (first,) = _out(outbox)
    outbox.lost(1.0)
    (again,) = _out(outbox, 1.0)
    assert again.group.create.client_id == first.group.create.client_id == "c"
    assert outbox.answered(_error(again, "UNAVAILABLE", 500), 1.0) is None
    (once_more,) = _out(outbox, 1.5)
    made = outbox.answered(pb.ServerFrame(id=once_more.id, group_info=pb.GroupInfo(conversation="g:1")), 1.6)
    assert isinstance(made, Done)


def test_a_refusal_is_final_unless_the_server_says_when_to_try_again() -> None:
    outbox = _outbox()
    outbox.submit(_send(1), 0.0)
    (frame,) = _out(outbox)
    failed = outbox.answered(_error(frame, "FORBIDDEN"), 0.0)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, Forbidden)


def test_what_was_never_sent_and_what_got_no_answer_are_told_apart_in_the_end() -> None:
    outbox = _outbox()
    outbox.submit(_send(1, timeout_s=5.0), 0.0)
    outbox.submit(_send(2, timeout_s=5.0), 0.0)
    _out(outbox)
    errors = {failed.ticket: failed.error for failed in outbox.expire(5.0)}
    assert isinstance(errors[1], NoAnswer)
    assert isinstance(errors[2], NotConnected)


def test_a_request_without_an_answer_is_sent_again_after_a_while() -> None:
    outbox = _outbox()
    outbox.submit(_send(1), 0.0)
    (first,) = _out(outbox)
    assert outbox.next_wake(live=True) == ANSWER_S
    outbox.expire(ANSWER_S)
    (again,) = _out(outbox, ANSWER_S)
    assert again.send.client_id == first.send.client_id
    assert outbox.answered(_sent(first), ANSWER_S) is None


def test_a_full_outbox_refuses_at_once() -> None:
    outbox = _outbox(capacity=1)
    assert outbox.submit(_send(1), 0.0) is None
    refused = outbox.submit(_send(2), 0.0)
    assert refused is not None
    assert isinstance(refused.error, Busy)


def test_what_the_server_would_close_the_connection_for_is_not_sent() -> None:
    outbox = _outbox()
    outbox.limits = pb.Limits(frame_bytes_max=200, content_bytes_max=100)
    outbox.submit(_send(1, text="x" * 150), 0.0)
    (failed,) = outbox.flush(0.0)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, TooLarge)


def test_sends_stay_below_the_servers_rate() -> None:
    outbox = _outbox()
    outbox.limits = pb.Limits(sends_per_s=10)
    _out(outbox, 0.0)
    for ticket in range(1, 41):
        outbox.submit(_send(ticket, f"d:{ticket}|x"), 1.0)
    assert len(_out(outbox, 1.0)) == 10
    assert 9 <= len(_out(outbox, 2.0)) <= 10


def test_not_more_than_the_window_is_unanswered() -> None:
    outbox = _outbox()
    for ticket in range(1, FLIGHT_MAX + 50):
        outbox.submit(_send(ticket, f"d:{ticket}|x"), 0.0)
    assert len(_out(outbox)) == FLIGHT_MAX


def test_an_answer_that_this_version_does_not_know_is_an_error_and_not_a_success() -> None:
    outbox = _outbox()
    outbox.submit(_send(1), 0.0)
    (frame,) = _out(outbox)
    failed = outbox.answered(pb.ServerFrame(id=frame.id), 0.0)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, Internal)


def test_a_message_that_shows_up_settles_the_send_that_waits_for_its_answer() -> None:
    outbox = _outbox()
    outbox.submit(_send(1), 0.0)
    _out(outbox)
    own, done = outbox.settle(pb.Message(conversation="d:a|b", client_id="c1", seq=7, message_id="m"))
    assert own
    assert isinstance(done, Done)
    assert done.frame.sent.seq == 7
    assert outbox.settle(pb.Message(conversation="d:a|b", client_id="c1", seq=7)) == (True, None)
    assert outbox.settle(pb.Message(conversation="d:a|b", client_id="somebody's", seq=8)) == (False, None)


def test_one_client_id_may_stand_for_a_message_to_several_people() -> None:
    outbox = _outbox()
    for ticket, lane in ((1, "d:ann|me"), (2, "d:bob|me")):
        frame = pb.ClientFrame(send=pb.Send(client_id="news", conversation=lane, content=pb.Content(text="x")))
        outbox.submit(Submit(ticket, frame, lane), 0.0)
    _out(outbox)
    own, done = outbox.settle(pb.Message(conversation="d:ann|me", client_id="news", seq=7))
    assert own
    assert isinstance(done, Done)
    assert (done.ticket, done.frame.sent.conversation) == (1, "d:ann|me")
    assert outbox.settle(pb.Message(conversation="d:cleo|me", client_id="news", seq=1)) == (False, None)
    assert outbox.waiting == 1


@pytest.mark.parametrize("flies", [True, False])
def test_a_late_answer_that_it_was_stored_counts_though_the_next_try_is_refused(flies: bool) -> None:
    outbox = _outbox()
    outbox.submit(_send(1), 0.0)
    (first,) = _out(outbox)
    outbox.expire(ANSWER_S)
    again = _out(outbox, ANSWER_S) if flies else []
    sent = pb.Sent(client_id="c1", conversation="d:a|b", seq=7)
    done = outbox.answered(pb.ServerFrame(id=first.id, sent=sent), ANSWER_S)
    assert isinstance(done, Done)
    assert [outbox.answered(_error(frame, "FORBIDDEN"), ANSWER_S) for frame in again] == [None] * len(again)
    assert _out(outbox, 100.0) == []
    outbox.submit(_send(2), 100.0)
    assert len(_out(outbox, 100.0)) == 1  # the lane goes on


def test_what_is_cancelled_before_it_went_out_does_not_go_out() -> None:
    outbox = _outbox()
    outbox.submit(_send(1), 0.0)
    outbox.submit(_send(2), 0.0)
    (first,) = _out(outbox)
    assert outbox.cancel(2)
    assert not outbox.cancel(1)
    assert isinstance(outbox.answered(_sent(first), 0.0), Done)
    assert _out(outbox) == []


@pytest.mark.parametrize("pipeline", [1, 4])
@given(
    steps=st.lists(
        st.sampled_from(["submit", "answer", "refuse", "lose", "wait", "cancel", "expire"]), min_size=5, max_size=60
    ),
    lanes=st.lists(st.sampled_from("ab"), min_size=60, max_size=60),
)
def test_every_ticket_has_exactly_one_outcome_and_lanes_keep_their_order(  # noqa: C901  # one branch a step
    pipeline: int, steps: list[str], lanes: list[str]
) -> None:
    outbox = _outbox(pipeline=pipeline)
    now, ticket = 0.0, 0
    unanswered: list[pb.ClientFrame] = []
    outcomes: list[int] = []
    cancelled: set[int] = set()
    accepted: dict[str, list[int]] = {"a": [], "b": []}

    def settle(outcome: Done | Failed | None) -> None:
        if outcome is not None:
            outcomes.append(outcome.ticket)

    for step in [*steps, *["answer", "wait"] * 60]:
        match step:
            case "submit":
                ticket += 1
                outbox.submit(_send(ticket, lanes[ticket % 60], timeout_s=1000.0), now)
            case "answer" if unanswered:
                frame = unanswered.pop(0)
                outcome = outbox.answered(_sent(frame), now)
                if outcome is not None:
                    accepted[frame.send.conversation].append(int(frame.send.client_id[1:]))
                settle(outcome)
            case "refuse" if unanswered:
                settle(outbox.answered(_error(unanswered.pop(0), "UNAVAILABLE", 50), now))
            case "lose":
                unanswered.clear()
                outbox.lost(now)
            case "cancel" if ticket and outbox.cancel(ticket):
                cancelled.add(ticket)
            case "wait":
                now += 0.1
            case "expire":
                for failed in outbox.expire(now):
                    settle(failed)
            case _:
                pass
        unanswered += _out(outbox, now)
    assert sorted(outcomes + list(cancelled)) == list(range(1, ticket + 1))
    if pipeline == 1:
        assert all(lane == sorted(lane) for lane in accepted.values())


def _given_up(outbox: Outbox) -> str:
    (failed,) = outbox.expire(5.0)
    return failed.error.message


def test_what_is_given_up_says_what_may_have_become_of_it_and_what_to_do() -> None:
    waiting, message, page = _outbox(), _outbox(), _outbox()
    waiting.submit(_send(1, timeout_s=5.0), 0.0)
    message.submit(_send(1, timeout_s=5.0), 0.0)
    page.submit(Submit(1, pb.ClientFrame(sync=pb.Sync()), timeout_s=5.0), 0.0)
    _out(message)
    _out(page)
    assert "nothing was done: look at the connection, and try again" in _given_up(waiting)
    assert "may have been stored: send it again with the same client_id" in _given_up(message)
    assert "may have been done: look whether it was" in _given_up(page)
