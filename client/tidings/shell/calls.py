"""What the application asks of the server, from its call to the outcome.

Guarantees: each call has one outcome, its answer or a TidingsError; one that the application cancels is not sent any
more. A send waits for a place while `outbox_max` are on their way; a post does not wait, and is refused.

Does not know: what the calls are named (client.py), how often a request is tried (core/messages/outbox.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from google.protobuf.message import Message

from tidings.core.signals import Submit
from tidings.errors import Busy
from tidings.model import Sent
from tidings.shell.engine import Engine
from tidings.shell.outgoing import Outgoing
from tidings_protocol import client_pb2 as pb
from tidings_protocol.operations import frame_of


class Calls:
    def __init__(
        self, engine: Engine, *, outbox_max: int, send_timeout_s: float | None, request_timeout_s: float | None
    ) -> None:
        """The times are those after which a call is given up; None: never."""
        self._engine = engine
        self._outbox_max = outbox_max
        self._send_timeout_s = send_timeout_s
        self._request_timeout_s = request_timeout_s
        self._places = asyncio.Semaphore(outbox_max)
        self._last_ticket = 0

    async def ask(self, request: Message) -> pb.ServerFrame:
        """The answer to a request: a body of ClientFrame, or an act of one."""
        ticket, outcome = self._submit(frame_of(request), timeout_s=self._request_timeout_s)
        with self._given_up_if_cancelled(ticket):
            return await outcome

    async def send(self, message: pb.Send, timeout_s: float | None) -> Sent:
        """Returns when the message is durable. `timeout_s` None: the client's own."""
        async with self._places:
            outgoing = self._launch(message, timeout_s)
            with self._given_up_if_cancelled(outgoing.ticket):
                return await outgoing.sent()

    def post(self, message: pb.Send, timeout_s: float | None, *, pending: int) -> Outgoing:
        """Like `send`, but does not wait. `pending`: how many are on their way already; raises Busy if too many are."""
        if pending >= self._outbox_max:
            raise Busy(f"{self._outbox_max} messages are on their way already: await some before the next")
        return self._launch(message, timeout_s)

    async def change(self, change: pb.Change, timeout_s: float | None) -> Sent:
        """The same of a change, in order with the sends to its conversation."""
        async with self._places:
            outgoing = self._launch(change, timeout_s)
            with self._given_up_if_cancelled(outgoing.ticket):
                return await outgoing.sent()

    def post_change(self, change: pb.Change) -> Outgoing:
        """Like `change`, but does not wait, not even for a place."""
        return self._launch(change, None)

    def _launch(self, message: pb.Send | pb.Change, timeout_s: float | None) -> Outgoing:
        timeout_s = self._send_timeout_s if timeout_s is None else timeout_s
        ticket, outcome = self._submit(frame_of(message), lane=message.conversation, timeout_s=timeout_s)
        outcome.add_done_callback(_seen)
        return Outgoing(message.client_id, message.conversation, ticket, outcome)

    def _submit(
        self, frame: pb.ClientFrame, *, lane: str = "", timeout_s: float | None
    ) -> tuple[int, asyncio.Future[pb.ServerFrame]]:
        self._last_ticket += 1
        ticket = self._last_ticket
        outcome = self._engine.expect(ticket)
        self._engine.step(Submit(ticket, frame, lane, timeout_s))
        return ticket, outcome

    @contextmanager
    def _given_up_if_cancelled(self, ticket: int) -> Iterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            self._engine.abandon(ticket)
            raise


def _seen(outcome: asyncio.Future[pb.ServerFrame]) -> None:
    """Nobody need look at what came of a posted message."""
    if not outcome.cancelled():
        outcome.exception()
