"""Sends and changes of messages: checked as far as a frame alone can be, then handed to logic in the lane of their
conversation.

So what one user sends to one conversation, and changes there, stays in its order. A send that logic has not decided yet
goes on in held_sends.py, and those behind it in its conversation with it. So does a change while parts of streams that
its connection sent there before have no outcome: else the end of a stream would come before its last parts.

Guarantees: a content is encoded once, here, and is opaque from here on. A send that its lane would not answer in time
is refused at once, and so is one that finds no room.

Does not know: who may speak, how a send is answered (send_answers.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from operator import attrgetter
from typing import Any, Final, Protocol

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.logic_client import LogicClient
from services.access.requests.addressee import addressee, place_of
from services.access.requests.changes import row_of
from services.access.requests.held_sends import HeldSends
from services.access.requests.send_answers import SendAnswers
from services.access.requests.send_in_flight import SendInFlight
from services.access.requests.send_trace import SendTrace
from services.access.send_rows import Outcome, StoredSend
from services.common.clock import Clock
from services.common.lanes.entered import LaneHolder
from services.common.lanes.lane import Lanes
from services.common.special import special_of
from services.common.telemetry import tracing
from tidings_protocol import client_pb2, content

# Sends that are worth a batch of their own beside one that is under way: it is decided while the other is stored.
OVERLAP_MIN: Final = 32


class PartsUnderWay(Protocol):
    """What is known of parts of streams that have no outcome yet (stream_parts.py)."""

    @property
    def is_quiet(self) -> bool: ...

    def under_way(self, session: str, conversation: str) -> bool: ...


class Sends(LaneHolder):
    """Takes sends while it is entered: at most `capacity` wait in a lane, and `batch_max` are in one call."""

    def __init__(
        self,
        logic: LogicClient,
        clock: Clock,
        *,
        content_bytes_max: int,
        lanes: int,
        capacity: int,
        batch_max: int,
        answer_s: float,
        parts: PartsUnderWay,
    ) -> None:
        self._logic = logic
        self._stream_parts = parts
        self._clock = clock
        self._content_bytes_max = content_bytes_max
        self._held = HeldSends(logic.send, capacity=capacity, batch_max=batch_max, early=self._is_early)
        self.lanes: Lanes[SendInFlight, StoredSend | None] = Lanes(
            "send",
            self._send,
            lanes=lanes,
            capacity=capacity,
            batch_max=batch_max,
            overlap_min=min(OVERLAP_MIN, batch_max),
            answer_s=answer_s,
            party=attrgetter("sender"),
            told=SendAnswers(clock, self._held).tell,
        )

    def _parts(self) -> Iterable[AbstractAsyncContextManager[Any]]:
        return (self._held, self.lanes)

    def take(self, connection: Connection, frame: client_pb2.ClientFrame) -> None:
        """Hands the send on; its answer comes later. Raises TidingsError if it is refused."""
        asked = frame.send
        client_id, message = asked.client_id, asked.content
        content.check_client_id(client_id)
        conversation, slot = addressee(connection.user, asked)
        encoded = content.encode_content(message, self._content_bytes_max)
        send = SendInFlight(
            connection,
            frame.id,
            connection.user,
            connection.session_id,
            conversation,
            slot,
            client_id,
            encoded,
            message.reply_to,
            self._clock.wall_ms(),
            None if content.is_body_alone(encoded) else special_of(message),
        )
        self._offer(send)

    def take_change(self, connection: Connection, frame: client_pb2.ClientFrame) -> None:
        """Hands the change of a message on; its answer comes later. Raises TidingsError if it is refused."""
        change = frame.change
        row = row_of(change, self._content_bytes_max)
        conversation, slot = place_of(change.conversation)
        self._offer(
            SendInFlight(
                connection,
                frame.id,
                connection.user,
                connection.session_id,
                conversation,
                slot,
                change.client_id,
                row.content,
                0,
                self._clock.wall_ms(),
                row.special,
                "change",
            )
        )

    def _offer(self, send: SendInFlight) -> None:
        span = SendTrace.begin(send)
        self.lanes.offer(send.slot, send if span is None else send._replace(span=span))

    async def _send(self, batch: list[SendInFlight]) -> Sequence[Outcome]:
        with tracing.batch("access send", (send.trace for send in batch), items=len(batch)):
            if not self._held and self._stream_parts.is_quiet:
                return await self._logic.send_rows(batch)
            behind = self._behind(batch)
            free = [send for send, waits in zip(batch, behind, strict=True) if not waits]
            outcomes = iter(await self._logic.send_rows(free) if free else ())
            return [None if waits else next(outcomes) for waits in behind]

    def _behind(self, batch: Sequence[SendInFlight]) -> list[bool]:
        """Which of them must wait for others."""
        waiting: set[str] = set()
        behind: list[bool] = []
        for send in batch:
            conversation = send.conversation
            waits = (
                conversation in waiting
                or self._held.holds(conversation)
                or (send.request == "change" and self._stream_parts.under_way(send.session, conversation))
            )
            if waits:
                waiting.add(conversation)
            behind.append(waits)
        return behind

    def _is_early(self, item: logic_pb2.SendItem) -> bool:
        return bool(item.special.change) and self._stream_parts.under_way(item.session, item.conversation)
