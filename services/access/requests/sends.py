"""Sends: checked as far as a frame alone can be, then handed to logic in the lane of their conversation.

So what one user sends to one conversation stays in its order. A send that logic has not decided yet goes on in
held_sends.py, and those behind it in its conversation with it.

Guarantees: a content is encoded once, here, and is opaque from here on. A send that its lane would not answer in time
is refused at once, and so is one that finds no room.

Does not know: who may speak, how a send is answered (send_in_flight.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from protos.tidings.internal.v1 import logic_pb2
from services.access.connection.connection import Connection
from services.access.logic_client import LogicClient
from services.access.requests.held_sends import HeldSends
from services.access.requests.send_in_flight import SendInFlight
from services.access.requests.send_trace import SendTrace
from services.common.clock import Clock
from services.common.lanes.entered import LaneHolder
from services.common.lanes.lane import Lanes
from services.common.telemetry import tracing
from tidings_protocol import client_pb2, content, ids
from tidings_protocol.errors import BadRequest, TidingsError

# Sends that are worth a batch of their own beside one that is under way: it is decided while the other is stored.
OVERLAP_MIN: Final = 32
# What stands for the outcome of a send that waits behind a held one.
_PENDING: Final = logic_pb2.SendOutcome(pending=True)


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
    ) -> None:
        self._logic = logic
        self._clock = clock
        self._content_bytes_max = content_bytes_max
        self.lanes: Lanes[SendInFlight, logic_pb2.SendOutcome] = Lanes(
            "send",
            self._send,
            lanes=lanes,
            capacity=capacity,
            batch_max=batch_max,
            overlap_min=min(OVERLAP_MIN, batch_max),
            answer_s=answer_s,
            party=lambda sending: sending.item.sender,
        )
        self._held = HeldSends(logic.send, capacity=capacity, batch_max=batch_max)

    def _parts(self) -> Iterable[AbstractAsyncContextManager[Any]]:
        return (self._held, self.lanes)

    def take(self, connection: Connection, frame: client_pb2.ClientFrame) -> None:
        """Hands the send on; its answer comes later. Raises TidingsError if it is refused."""
        send = frame.send
        content.check_client_id(send.client_id)
        conversation = addressee(connection, send)
        item = logic_pb2.SendItem(
            sender=connection.user,
            session=connection.session_id,
            conversation=conversation,
            client_id=send.client_id,
            content=content.encode_content(send.content, self._content_bytes_max),
            reply_to=send.content.reply_to,
            accepted_ms=self._clock.wall_ms(),
        )
        sending = SendInFlight(connection, frame.id, item, self._clock, SendTrace.begin(item), self._held)
        self.lanes.offer(ids.hash64(conversation), sending, sending.done)

    async def _send(self, batch: list[SendInFlight]) -> Sequence[logic_pb2.SendOutcome | TidingsError]:
        with tracing.batch("access send", (sending.item.trace for sending in batch), items=len(batch)):
            items = [sending.item for sending in batch]
            behind = [self._held.holds(item.conversation) for item in items]
            if not any(behind):
                return await self._logic.send(items)
            free = [item for item, waits in zip(items, behind, strict=True) if not waits]
            outcomes = iter(await self._logic.send(free))
            return [_PENDING if waits else next(outcomes) for waits in behind]


def addressee(connection: Connection, request: client_pb2.Send | client_pb2.Signal) -> str:
    """The conversation that a send or signal goes to. Raises BadRequest."""
    match request.WhichOneof("to"):
        case "user":
            return ids.direct(connection.user, ids.check_user(request.user))
        case "conversation":
            ids.check_conversation(request.conversation)
            return request.conversation
        case _:
            raise BadRequest(
                f"`{request.DESCRIPTOR.name.lower()}` goes to nobody: give it a `user` for a direct chat, or a "
                "`conversation`"
            )
