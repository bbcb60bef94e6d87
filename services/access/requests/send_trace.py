"""The trace of one send, from its frame to its answer: the root of the spans that other nodes add to it.

A sampled send has its span from the beginning. A send that was not sampled and fails by the cluster's fault gets its
span when it has failed, with the time at which it began, so that errors can always be looked at; and a line in the log
has the same trace id. There are at most `FAILURES_MAX` of these in a second, or an outage would cost more than it must.

Does not know: which sends are sampled (tracing.py).
"""

from __future__ import annotations

import time
from typing import Final, Protocol, Self

from opentelemetry.trace import Span

from services.common.telemetry import logs, tracing
from tidings_protocol.errors import Blame, TidingsError

NAME: Final = "send"
FAILURES_MAX: Final = 5

log = logs.get_logger(__name__)


class TracedSend(Protocol):
    """What a trace tells of its send."""

    @property
    def sender(self) -> str: ...

    @property
    def session(self) -> str: ...

    @property
    def conversation(self) -> str: ...

    @property
    def client_id(self) -> str: ...

    @property
    def accepted_ms(self) -> int: ...


class SendTrace:
    """The span of a sampled send; its `text` goes along with the send."""

    __slots__ = ("_span", "text")

    def __init__(self, span: Span) -> None:
        self._span = span
        self.text: Final = tracing.text_of(span)

    @classmethod
    def begin(cls, send: TracedSend) -> Self | None:
        """Begins the span of a send; None if the send is not sampled."""
        if not tracing.enabled():
            return None
        span = tracing.begin(NAME, attributes_of(send))
        return cls(span) if span is not None else None

    def acknowledged(self, seq: int) -> dict[str, str] | None:
        """Ends the span of a send that is stored; the exemplar that links the histogram to this trace."""
        self._span.set_attribute("tidings.seq", seq)
        self._span.end()
        return tracing.exemplar(self.text)

    def failed(self, error: TidingsError) -> str:
        """Ends the span of a send that failed; the text of its trace."""
        tracing.end_failed(self._span, error.label)
        return self.text


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


def failed(send: TracedSend, trace: SendTrace | None, error: TidingsError) -> None:
    """Ends the span of a failed send, or makes one, and writes the line if the cluster is to blame."""
    text = trace.failed(error) if trace is not None else ""
    if error.blame is not Blame.SERVER or not _ALLOWANCE.take(time.monotonic()):
        return
    if not text:
        text = tracing.failure(NAME, send.accepted_ms * 1_000_000, error.label, attributes_of(send))
    passed_over, _ALLOWANCE.passed_over = _ALLOWANCE.passed_over, 0
    log.warning(
        "send failed",
        user=send.sender,
        conversation=send.conversation,
        code=error.label,
        reason=error.message,
        trace_id=tracing.id_of(text),
        passed_over=passed_over,
    )


def attributes_of(send: TracedSend) -> dict[str, str]:
    """The attributes by which the trace of a send is found."""
    return {
        "tidings.user": send.sender,
        "tidings.conversation": send.conversation,
        "tidings.session": send.session,
        "tidings.client_id": send.client_id,
    }
