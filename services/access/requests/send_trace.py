"""The trace of one send, from its frame to its answer: the root of the spans that other nodes add to it.

A sampled send has its span from the beginning. A send that was not sampled and fails by the cluster's fault gets its
span when it has failed, with the time at which it began, so that errors can always be looked at; and a line in the log
has the same trace id. There are at most `FAILURES_MAX` of these in a second, or an outage would cost more than it must.

Does not know: which sends are sampled (tracing.py).
"""

from __future__ import annotations

import time
from typing import Final, Self

from opentelemetry.trace import Span

from protos.tidings.internal.v1 import logic_pb2
from services.common.telemetry import logs, tracing
from tidings_protocol.errors import Blame, TidingsError

NAME: Final = "send"
FAILURES_MAX: Final = 5

log = logs.get_logger(__name__)


class SendTrace:
    """The span of a sampled send."""

    __slots__ = ("_span", "_text")

    def __init__(self, span: Span, text: str) -> None:
        self._span = span
        self._text = text

    @classmethod
    def begin(cls, item: logic_pb2.SendItem) -> Self | None:
        """Begins the span of a send, whose item then carries the trace; None if the send is not sampled."""
        if not tracing.enabled():
            return None
        span = tracing.begin(NAME, attributes_of(item))
        if span is None:
            return None
        item.trace = tracing.text_of(span)
        return cls(span, item.trace)

    def acknowledged(self, seq: int) -> dict[str, str] | None:
        """Ends the span of a send that is stored; the exemplar that links the histogram to this trace."""
        self._span.set_attribute("tidings.seq", seq)
        self._span.end()
        return tracing.exemplar(self._text)

    def failed(self, error: TidingsError) -> str:
        """Ends the span of a send that failed; the text of its trace."""
        tracing.end_failed(self._span, error.label)
        return self._text


class Allowance:
    """Allows so many in a second, and counts those that it passed over."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = 0
        self._used = 0
        self.passed_over = 0

    def take(self, now_s: float) -> bool:
        """Whether one more is allowed."""
        if int(now_s) != self._second:
            self._second, self._used = int(now_s), 0
        self._used += 1
        if self._used > self._most:
            self.passed_over += 1
            return False
        return True


_ALLOWANCE: Final = Allowance(FAILURES_MAX)


def failed(item: logic_pb2.SendItem, trace: SendTrace | None, error: TidingsError) -> None:
    """Ends the span of a failed send, or makes one, and writes the line if the cluster is to blame."""
    text = trace.failed(error) if trace is not None else ""
    if error.blame is not Blame.SERVER or not _ALLOWANCE.take(time.monotonic()):
        return
    if not text:
        text = tracing.failure(NAME, item.accepted_ms * 1_000_000, error.label, attributes_of(item))
    passed_over, _ALLOWANCE.passed_over = _ALLOWANCE.passed_over, 0
    log.warning(
        "send failed",
        user=item.sender,
        conversation=item.conversation,
        code=error.label,
        reason=error.message,
        trace_id=tracing.id_of(text),
        passed_over=passed_over,
    )


def attributes_of(item: logic_pb2.SendItem) -> dict[str, str]:
    """The attributes by which the trace of a send is found."""
    return {
        "tidings.user": item.sender,
        "tidings.conversation": item.conversation,
        "tidings.session": item.session,
        "tidings.client_id": item.client_id,
    }
