"""The trace of a group's change: which requests have one, and how it ends."""

from __future__ import annotations

import pytest
from opentelemetry.trace import StatusCode

from protos.tidings.internal.v1 import logic_pb2
from services.access.requests.request_trace import RequestTrace
from services.common.telemetry import tracing
from tests.traces import ended, recording
from tidings_protocol import client_pb2

Group = client_pb2.GroupRequest


def item() -> logic_pb2.HandleItem:
    return logic_pb2.HandleItem(user="ann", session="s1")


def test_a_sampled_change_is_a_span_that_ends_with_its_answer_and_its_item_carries_the_trace() -> None:
    change = item()
    with recording() as spans:
        trace = RequestTrace.begin(change, Group(leave=Group.Leave(conversation="g:1")))
        assert trace is not None
        assert ended(spans) == ()
        trace.end("")
        (span,) = ended(spans)
    assert span.context is not None
    assert tracing.id_of(change.trace) == f"{span.context.trace_id:032x}"
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "tidings.user": "ann",
        "tidings.session": "s1",
        "tidings.act": "leave",
        "tidings.conversation": "g:1",
    }


def test_a_refusal_is_the_spans_error() -> None:
    with recording() as spans:
        trace = RequestTrace.begin(item(), Group(create=Group.Create(name="Tea")))
        assert trace is not None
        trace.end("forbidden")
        (span,) = ended(spans)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "forbidden")
    assert "tidings.conversation" not in (span.attributes or {}), "a group that is not made has no name yet"


@pytest.mark.parametrize("request_", [Group(), Group(info=Group.Info()), Group(members=Group.Members())])
def test_a_read_and_a_request_without_an_act_have_no_trace(request_: client_pb2.GroupRequest) -> None:
    asked = item()
    with recording():
        assert RequestTrace.begin(asked, request_) is None
    assert asked.trace == ""


def test_nothing_is_begun_while_tracing_is_off_or_the_request_is_not_sampled() -> None:
    change = Group(leave=Group.Leave(conversation="g:1"))
    assert RequestTrace.begin(item(), change) is None
    with recording(sample_ratio=0.0):
        assert RequestTrace.begin(item(), change) is None
