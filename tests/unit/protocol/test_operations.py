"""The table of operations is what client.proto has."""

from __future__ import annotations

import pytest

from tests.support.device.requests import empty_request
from tidings_protocol.client_pb2 import Bye, ClientFrame, GroupRequest, History, Pong, ServerFrame
from tidings_protocol.operations import ACTS, OPERATIONS, REQUESTS, Handler, Limit, Operation, Size, frame_of, name_of

each_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
BODIES = [field.name for field in ClientFrame.DESCRIPTOR.oneofs_by_name["body"].fields]
REPLIES = [field.name for field in ServerFrame.DESCRIPTOR.oneofs_by_name["body"].fields]


def test_every_request_of_the_oneof_has_a_row_and_every_row_is_one() -> None:
    assert {operation.body for operation in OPERATIONS.values()} == set(BODIES)
    # One row without an act is what the other acts of a body go by.
    assert sorted(operation.body for operation in OPERATIONS.values() if not operation.act) == sorted(BODIES)


@each_operation
def test_answers_are_bodies_of_the_server(operation: Operation) -> None:
    assert set(operation.answers) <= set(REPLIES) - {"error", "goodbye"}
    assert len(set(operation.answers)) == len(operation.answers)
    assert operation.answered or not operation.answers


@each_operation
def test_a_frame_is_the_row_that_it_was_made_for(operation: Operation) -> None:
    assert name_of(empty_request(operation)) == operation.name
    assert OPERATIONS[operation.name] is operation


@each_operation
def test_the_frame_of_a_request_is_the_one_that_was_made_by_hand(operation: Operation) -> None:
    by_hand = empty_request(operation)
    request = getattr(by_hand, operation.body)
    if operation.body in ACTS:
        request = getattr(request, request.WhichOneof("act"))
    assert frame_of(request) == by_hand


def test_a_frame_carries_what_its_request_says() -> None:
    asked = History(conversation="g:tea", after=0, limit=50)
    assert frame_of(asked) == ClientFrame(history=asked)
    renamed = GroupRequest.Rename(conversation="g:tea", name="Tea")
    assert frame_of(renamed) == ClientFrame(group=GroupRequest(rename=renamed))
    assert frame_of(GroupRequest(rename=renamed)) == frame_of(renamed)
    assert frame_of(Bye()).WhichOneof("body") == "bye"


def test_what_no_client_may_ask_for_has_no_frame() -> None:
    with pytest.raises(ValueError, match="Pong is no request: give a body"):
        frame_of(Pong())


def test_acts_that_have_rows_are_acts_of_their_request() -> None:
    for body, acts in ACTS.items():
        message = getattr(ClientFrame(), body)
        assert set(acts) < {field.name for field in message.DESCRIPTOR.oneofs_by_name["act"].fields}


def test_a_frame_without_a_body_has_no_name_and_one_without_an_act_is_the_rest() -> None:
    assert name_of(ClientFrame(id=3)) == ""
    assert name_of(ClientFrame(group=GroupRequest())) == "group"


def test_a_session_is_begun_and_ended_by_what_is_not_asked_in_it() -> None:
    assert set(OPERATIONS) - set(REQUESTS) == {"hello", "bye"}


def test_replies_that_may_be_large_are_pages() -> None:
    pages = {name for name, operation in OPERATIONS.items() if operation.size is Size.PAGE}
    lists = {"group.members", "group.banned", "group.invites", "group.join_requests", "block.list"}
    assert pages == {"sync", "history", "conversations", "readers", "reactors", "search", *lists}
    assert all(answer.endswith("page") for name in pages for answer in OPERATIONS[name].answers)


@each_operation
def test_only_what_access_handles_has_a_limit_of_its_own(operation: Operation) -> None:
    # The session counts these by name of the limit; one that nobody counts would be none.
    assert operation.limit in {None, Limit.SENDS, Limit.PARTS, Limit.REFRESHES}
    assert operation.limit is None or operation.handler is Handler.ACCESS
