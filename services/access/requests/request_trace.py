"""The trace of one change of a group, from its frame to its answer: the root of the spans that other nodes add to it.

Reads are not traced, since no other user is shown anything because of them.

Does not know: which requests are sampled (tracing.py).
"""

from __future__ import annotations

from typing import Final, Self

from opentelemetry.trace import Span

from protos.tidings.internal.v1 import logic_pb2
from services.common.telemetry import tracing
from tidings_protocol import client_pb2

NAME: Final = "group"
READS: Final = frozenset({"info", "members", "banned", "join_requests", "invites"})


class RequestTrace:
    """The span of a sampled request."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    @classmethod
    def begin(cls, item: logic_pb2.HandleItem, request: client_pb2.GroupRequest) -> Self | None:
        """Begins the span of a change, whose item then carries the trace; None if it is not sampled, or a read."""
        if not tracing.enabled():
            return None
        act = request.WhichOneof("act")
        if act is None or act in READS:
            return None
        attributes = {"tidings.user": item.user, "tidings.session": item.session, "tidings.act": act}
        if act != "create":
            attributes["tidings.conversation"] = getattr(request, act).conversation
        span = tracing.begin(NAME, attributes)
        if span is None:
            return None
        item.trace = tracing.text_of(span)
        return cls(span)

    def end(self, error: str) -> None:
        """Ends the span of a request that is answered; `error` is the code of its refusal, or empty."""
        if error:
            tracing.end_failed(self._span, error)
        else:
            self._span.end()
