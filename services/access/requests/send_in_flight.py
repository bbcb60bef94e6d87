"""A send in flight: what becomes of it between its lane and its answer.

Guarantees: it is answered exactly once, when logic has decided or has failed to.

Does not know: lanes, what is checked before a send is stored.
"""

from __future__ import annotations

from typing import Final

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.requests import send_trace
from services.access.requests.answers import answer_or_end
from services.access.requests.held_sends import HeldSends
from services.access.requests.send_trace import SendTrace
from services.common.clock import Clock
from services.common.rpc.faults import from_fault
from services.common.telemetry import metrics
from tidings_protocol import ids
from tidings_protocol.errors import Blame, TidingsError

_STORED: Final = metrics.SENDS.labels("stored")
_DUPLICATE: Final = metrics.SENDS.labels("duplicate")


class SendInFlight:
    """One send, from its frame to its answer."""

    __slots__ = ("_clock", "_connection", "_held", "_request_id", "_trace", "item")

    def __init__(
        self,
        connection: Connection,
        request_id: int,
        item: logic_pb2.SendItem,
        clock: Clock,
        trace: SendTrace | None,
        held: HeldSends,
    ) -> None:
        self._connection = connection
        self._request_id = request_id
        self._clock = clock
        self._trace = trace
        self._held = held
        self.item = item

    def done(self, outcome: logic_pb2.SendOutcome | TidingsError) -> None:
        """Takes what logic answered: an outcome, or that it has none yet."""
        if not isinstance(outcome, TidingsError) and outcome.pending:
            try:
                self._held.take(self)
            except TidingsError as refusal:
                self._refuse(refusal)
            return
        self.answer(outcome)

    def answer(self, outcome: logic_pb2.SendOutcome | TidingsError) -> None:
        """Answers the client, whether the send was stored or not."""
        answer_or_end(self._connection, self._answer, outcome)

    def _answer(self, outcome: logic_pb2.SendOutcome | TidingsError) -> None:
        if isinstance(outcome, TidingsError):
            self._refuse(outcome)
            return
        if outcome.HasField("fault"):
            self._refuse(from_fault(outcome.fault))
            return
        item, connection = self.item, self._connection
        (_DUPLICATE if outcome.duplicate else _STORED).inc()
        exemplar = self._trace.acknowledged(outcome.seq) if self._trace is not None else None
        metrics.ACK_SECONDS.observe(max(0.0, (self._clock.wall_ms() - item.accepted_ms) / 1000), exemplar)
        connection.delivery.show(outcome.number)
        connection.send_gathered(
            connection.codec.sent(
                self._request_id,
                client_id=item.client_id,
                message_id=ids.message_id(item.conversation, outcome.seq),
                conversation=item.conversation,
                seq=outcome.seq,
                time_ms=outcome.time_ms,
                duplicate=outcome.duplicate,
                number=outcome.number,
            ),
            "sent",
        )
        connection.answered("send")

    def _refuse(self, error: TidingsError) -> None:
        metrics.SENDS.labels(error.label).inc()
        if error.blame is Blame.SERVER or self._trace is not None:
            send_trace.failed(self.item, self._trace, error)
        self._connection.refuse(self._request_id, "send", error)
