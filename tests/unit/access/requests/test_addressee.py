"""Whom a request goes to: a direct chat or a conversation, and which slot that is in."""

from __future__ import annotations

import pytest

from services.access.requests.addressee import addressee
from tidings_protocol.client_pb2 import Send, Signal
from tidings_protocol.errors import BadRequest
from tidings_protocol.ids import slot_of


def test_a_send_goes_to_a_direct_chat_or_to_the_conversation_that_it_names() -> None:
    assert addressee("ann", Send(user="bob")) == ("d:ann|bob", slot_of("d:ann|bob"))
    assert addressee("ann", Signal(conversation="g:x")) == ("g:x", slot_of("g:x"))
    with pytest.raises(BadRequest, match="`send` goes to nobody: give it a `user`"):
        addressee("ann", Send())


def test_what_is_remembered_of_one_user_is_not_anothers() -> None:
    to_bob = Send(user="bob")
    names = [addressee(user, to_bob).conversation for user in ("ann", "cid", "ann")]
    assert names == ["d:ann|bob", "d:bob|cid", "d:ann|bob"]


@pytest.mark.parametrize(
    "asked",
    [Send(user="no name"), Send(user="tidings"), Send(user=""), Send(conversation="d:b|a")],
    ids=["no name", "the operator", "nothing", "the other order"],
)
def test_what_is_no_name_is_refused_each_time(asked: Send) -> None:
    for _ in range(2):
        with pytest.raises(BadRequest):
            addressee("ann", asked)
