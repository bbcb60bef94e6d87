"""What access nodes make of the table of operations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.access.requests.requests import _lane_of
from services.access.session.delivery_state import DeliveryState
from services.access.session.events import Refuse
from services.access.session.heartbeat import FOREVER
from services.access.session.open import Open
from services.access.session.session import Session, SessionPolicy
from tidings_protocol import client_pb2
from tidings_protocol.operations import OPERATIONS, Order


def opened() -> Session:
    return Open(SessionPolicy(), DeliveryState(), 0.0, kind=client_pb2.Hello.WEB, expires_at=FOREVER)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("hello", "this connection has said hello already: open another one"),
        ("hologram", "`hologram` is not asked in a session: leave it out"),
    ],
)
def test_what_is_no_request_in_a_session_is_refused_by_what_it_is(body: str, message: str) -> None:
    assert opened().receive_frame(body, 10, 1.0) == (Refuse("BAD_REQUEST", message),)


def test_what_a_user_asks_has_one_lane_but_what_is_of_a_conversation_goes_in_its_own() -> None:
    frame = client_pb2.ClientFrame(history=client_pb2.History(conversation="g:1"))
    history = OPERATIONS["history"]
    assert _lane_of(history, frame, "ann") == "ann"
    assert _lane_of(replace(history, order=Order.CONVERSATION), frame, "ann") == "g:1"
