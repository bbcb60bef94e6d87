"""A send in flight: what logic is asked about it, in columns or by itself."""

from __future__ import annotations

from typing import Any

from protos.tidings.internal.v1 import logic_pb2
from services.access.requests.send_in_flight import SendInFlight
from services.access.requests.send_trace import SendTrace
from tests.support.traces import recording

CONNECTION: Any = None


def test_by_itself_it_is_asked_about_as_in_columns() -> None:
    with recording():
        plain = SendInFlight(CONNECTION, 4, "ann", "s1", "d:ann|bob", 7, "c1", b"hi", 3, 5_000)
        sampled = plain._replace(span=SendTrace.begin(plain))
    assert plain.trace == ""
    assert sampled.trace.startswith("00-")
    for send in (plain, sampled):
        assert send.item() == logic_pb2.SendItem(
            sender=send.sender,
            session=send.session,
            conversation=send.conversation,
            client_id=send.client_id,
            content=send.content,
            reply_to=send.reply_to,
            accepted_ms=send.accepted_ms,
            trace=send.trace,
        )
