"""The answers to sends and changes, batch by batch: what logic decided becomes the frame that each client gets.

Guarantees: each send that has an outcome is answered; one that logic has not decided yet waits (held_sends.py), or is
refused. A defect in one answer ends its connection and no other one. The metrics tell of each send, and are added to
once a batch.

Does not know: lanes, how logic is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protos.tidings.internal.v1 import logic_pb2
from services.access.requests import send_trace
from services.access.requests.answers import end_after_defect
from services.access.requests.held_sends import HeldSends
from services.access.requests.send_in_flight import SendInFlight
from services.access.send_rows import Outcome, StoredSend, outcome_of
from services.common.clock import Clock
from services.common.telemetry import metrics
from tidings_protocol import ids
from tidings_protocol.errors import Blame, TidingsError

_STORED: Final = metrics.SENDS.labels("stored")
_DUPLICATE: Final = metrics.SENDS.labels("duplicate")


class SendAnswers:
    """Answers the sends of a node; those that logic has not decided yet are kept in `held`."""

    def __init__(self, clock: Clock, held: HeldSends) -> None:
        self._clock = clock
        self._held = held

    def tell(self, sends: Sequence[SendInFlight], outcomes: Sequence[Outcome]) -> None:
        """Takes what became of each of the sends, and answers their clients."""
        stored: list[tuple[SendInFlight, StoredSend]] = []
        for send, outcome in zip(sends, outcomes, strict=True):
            try:
                if isinstance(outcome, StoredSend):
                    stored.append((send, outcome))
                    _acknowledge(send, outcome)
                elif outcome is None:
                    self._hold(send)
                else:
                    _refuse(send, outcome)
            except Exception as defect:  # noqa: BLE001 - the edge: as in `Connection.receive`
                end_after_defect(send.connection, defect)
        if stored:
            self._measure(stored)

    def _hold(self, send: SendInFlight) -> None:
        try:
            self._held.take(UndecidedSend(send, self))
        except TidingsError as refusal:
            _refuse(send, refusal)

    def _measure(self, stored: Sequence[tuple[SendInFlight, StoredSend]]) -> None:
        now_ms = self._clock.wall_ms()
        taken_s: list[float] = []
        duplicates = 0
        for send, place in stored:
            duplicates += place.duplicate
            seconds = max(0.0, (now_ms - send.accepted_ms) / 1000)
            if send.span is None:
                taken_s.append(seconds)
            else:
                metrics.ACK_SECONDS.observe(seconds, send.span.acknowledged(place.seq))
        metrics.observe_many(metrics.ACK_SECONDS, taken_s)
        _STORED.inc(len(stored) - duplicates)
        _DUPLICATE.inc(duplicates)


class UndecidedSend:
    """A send that waits until logic has decided."""

    __slots__ = ("_answers", "_send", "item")

    def __init__(self, send: SendInFlight, answers: SendAnswers) -> None:
        self._send = send
        self._answers = answers
        self.item: Final = send.item()

    def answer(self, outcome: logic_pb2.SendOutcome | TidingsError) -> None:
        """Answers the client."""
        decided = outcome if isinstance(outcome, TidingsError) else outcome_of(outcome)
        self._answers.tell([self._send], [decided])


def _acknowledge(send: SendInFlight, stored: StoredSend) -> None:
    connection = send.connection
    connection.delivery.show(stored.number)
    connection.send_gathered(
        connection.codec.sent(
            send.request_id,
            client_id=send.client_id,
            message_id=ids.message_id(send.conversation, stored.seq) if stored.seq else "",
            conversation=send.conversation,
            seq=stored.seq,
            time_ms=stored.time_ms,
            duplicate=stored.duplicate,
            number=stored.number,
            state=stored.state if send.request == "change" else None,
        ),
        "sent",
    )
    connection.answered(send.request)


def _refuse(send: SendInFlight, error: TidingsError) -> None:
    metrics.SENDS.labels(error.label).inc()
    if error.blame is Blame.SERVER or send.span is not None:
        send_trace.failed(send, send.span, error)
    send.connection.refuse(send.request_id, send.request, error)
