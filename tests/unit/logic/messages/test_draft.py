"""What a sender's node is answered of one message."""

from __future__ import annotations

from protos.tidings.internal.v1 import logic_pb2, storage_pb2
from services.logic.groups.recipients import Fanout
from services.logic.messages.draft import TO_NOBODY, SendDraft, outcome_of
from tidings_protocol.errors import Forbidden

StoreOutcome = storage_pb2.StoreOutcome


def draft(status: StoreOutcome.Status.ValueType, *numbers: int) -> SendDraft:
    made = SendDraft(logic_pb2.SendItem(sender="bob", content=b"hi"))
    made.fanout = Fanout(("amy", "bob")) if numbers else TO_NOBODY
    made.stored = StoreOutcome(status=status, seq=3, time_ms=9, numbers=numbers)
    return made


def test_the_sender_is_told_its_own_number() -> None:
    outcome = outcome_of(draft(StoreOutcome.STORED, 7, 8))
    assert outcome == logic_pb2.SendOutcome(seq=3, time_ms=9, number=8)


def test_a_message_that_is_read_by_cursor_has_no_number_and_a_repeat_says_so() -> None:
    assert outcome_of(draft(StoreOutcome.DUPLICATE)) == logic_pb2.SendOutcome(seq=3, time_ms=9, duplicate=True)


def test_an_error_is_the_outcome_whatever_was_stored() -> None:
    refused = draft(StoreOutcome.STORED, 7, 8)
    refused.error = Forbidden("no")
    assert (outcome_of(refused).fault.code, outcome_of(refused).seq) == ("FORBIDDEN", 0)
