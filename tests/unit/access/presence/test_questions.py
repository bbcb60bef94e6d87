"""What both notifiers ask logic."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import logic_pb2
from services.access.presence.questions import USERS_MAX, check_users, chunks, frame_in
from tidings_protocol import client_pb2
from tidings_protocol.errors import BadRequest


def test_a_request_names_no_more_users_than_may_be() -> None:
    users = [f"u{number}" for number in range(2 * USERS_MAX + 1)]
    assert [len(chunk) for chunk in chunks(users)] == [USERS_MAX, USERS_MAX, 1]
    assert [user for chunk in chunks(users) for user in chunk] == users
    check_users(users[:USERS_MAX])
    with pytest.raises(BadRequest):
        check_users(users[: USERS_MAX + 1])


def test_an_answer_that_is_no_frame_says_nothing() -> None:
    frame = client_pb2.ServerFrame(ok=client_pb2.Ok())
    assert frame_in(logic_pb2.HandleOutcome(frame=frame.SerializeToString())) == frame
    assert frame_in(logic_pb2.HandleOutcome(frame=b"\xff")) == client_pb2.ServerFrame()
