"""Signals: checked as far as a frame alone can be, then handed to logic in the lane of their conversation.

Guarantees: a signal is answered only if it is refused.

Does not know: who may signal, what a signal means.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.logic_client import LogicClient
from services.access.requests.addressee import addressee
from services.access.requests.answers import answer_or_end
from services.common.lanes.entered import LaneHolder
from services.common.lanes.lane import Lanes
from services.common.rpc.faults import from_fault
from services.common.telemetry import metrics
from tidings_protocol import client_pb2, content
from tidings_protocol.errors import TidingsError


class Signals(LaneHolder):
    """Takes signals while it is entered: at most `capacity` wait in a lane, and `batch_max` are in one call."""

    def __init__(self, logic: LogicClient, *, lanes: int, capacity: int, batch_max: int) -> None:
        self.lanes: Lanes[logic_pb2.SignalItem, logic_pb2.SignalOutcome] = Lanes(
            "signal",
            logic.signal,
            lanes=lanes,
            capacity=capacity,
            batch_max=batch_max,
            overlap_min=batch_max,
            party=lambda item: item.sender,
        )

    def _parts(self) -> Iterable[AbstractAsyncContextManager[Any]]:
        return (self.lanes,)

    def take(self, connection: Connection, frame: client_pb2.ClientFrame) -> None:
        """Hands the signal on. Raises TidingsError if it is refused at once."""
        signal = frame.signal
        content.check_signal(signal.name, signal.data)
        conversation, slot = addressee(connection.user, signal)
        item = logic_pb2.SignalItem(
            sender=connection.user,
            session=connection.session_id,
            conversation=conversation,
            name=signal.name,
            data=signal.data,
        )
        request_id = frame.id

        def answer(outcome: logic_pb2.SignalOutcome | TidingsError) -> None:
            _answer(connection, request_id, outcome)

        def done(outcome: logic_pb2.SignalOutcome | TidingsError) -> None:
            answer_or_end(connection, answer, outcome)

        self.lanes.offer(slot, item, done)


def _answer(connection: Connection, request_id: int, outcome: logic_pb2.SignalOutcome | TidingsError) -> None:
    if isinstance(outcome, TidingsError):
        error = outcome
    elif outcome.HasField("fault"):
        error = from_fault(outcome.fault)
    else:
        metrics.SIGNALS.labels("sent").inc()
        connection.answered("signal")
        return
    metrics.SIGNALS.labels(error.label).inc()
    connection.refuse(request_id, "signal", error)
