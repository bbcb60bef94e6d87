"""Parts of streams: checked as far as a frame alone can be, then handed to logic in the lane of their conversation.

A `finish` goes the way of sends, where it could pass the last parts of its own stream: `under_way` says whether there
are some.

Guarantees: a part is answered only if it is refused. The parts of one connection to one conversation keep their order.

Does not know: who may send there, which part is wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.logic_client import LogicClient
from services.access.requests.addressee import place_of
from services.access.requests.answers import answer_or_end
from services.common.lanes.entered import LaneHolder
from services.common.lanes.lane import Lanes
from services.common.rpc.faults import from_fault
from services.common.telemetry import metrics
from tidings_protocol import client_pb2
from tidings_protocol.content import check_part
from tidings_protocol.errors import TidingsError


class StreamParts(LaneHolder):
    """Takes parts while it is entered: at most `capacity` wait in a lane, and `batch_max` are in one call."""

    def __init__(
        self, logic: LogicClient, *, content_bytes_max: int, lanes: int, capacity: int, batch_max: int
    ) -> None:
        self._content_bytes_max = content_bytes_max
        self._under_way: Counter[tuple[str, str]] = Counter()
        self.lanes: Lanes[logic_pb2.StreamPartItem, logic_pb2.StreamPartOutcome] = Lanes(
            "parts",
            logic.stream_parts,
            lanes=lanes,
            capacity=capacity,
            batch_max=batch_max,
            overlap_min=batch_max,
            party=lambda item: item.sender,
        )

    def _parts(self) -> Iterable[AbstractAsyncContextManager[Any]]:
        return (self.lanes,)

    @property
    def is_quiet(self) -> bool:
        """Whether no part at all is under way."""
        return not self._under_way

    def under_way(self, session: str, conversation: str) -> bool:
        """Whether parts of this connection to this conversation have no outcome yet."""
        return (session, conversation) in self._under_way

    def take(self, connection: Connection, frame: client_pb2.ClientFrame) -> None:
        """Hands the part on. Raises TidingsError if it is refused at once."""
        part = frame.stream_part
        conversation, slot = place_of(part.conversation)
        check_part(part, self._content_bytes_max)
        item = logic_pb2.StreamPartItem(
            sender=connection.user,
            session=connection.session_id,
            conversation=conversation,
            seq=part.seq,
            part=part.part,
            text=part.text,
        )
        request_id, place = frame.id, (connection.session_id, conversation)

        def answer(outcome: logic_pb2.StreamPartOutcome | TidingsError) -> None:
            _answer(connection, request_id, outcome)

        def done(outcome: logic_pb2.StreamPartOutcome | TidingsError) -> None:
            self._end(place)
            answer_or_end(connection, answer, outcome)

        self.lanes.offer(slot, item, done)
        self._under_way[place] += 1

    def _end(self, place: tuple[str, str]) -> None:
        self._under_way[place] -= 1
        if not self._under_way[place]:
            del self._under_way[place]


def _answer(connection: Connection, request_id: int, outcome: logic_pb2.StreamPartOutcome | TidingsError) -> None:
    if isinstance(outcome, TidingsError):
        error = outcome
    elif outcome.HasField("fault"):
        error = from_fault(outcome.fault)
    else:
        metrics.STREAM_PARTS.labels("taken").inc()
        connection.answered("stream_part")
        return
    metrics.STREAM_PARTS.labels(error.label).inc()
    connection.refuse(request_id, "stream_part", error)
