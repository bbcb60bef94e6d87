"""A message on its way, as the application holds it.

Does not know: how it is sent (core/messages/outbox.py), nor what the others do with it (`Progress`).
"""

from __future__ import annotations

import asyncio

from tidings.model import MessageState, Sent
from tidings_protocol import client_pb2 as pb


class Outgoing:
    """A message on its way, made by `Client.post`."""

    def __init__(self, client_id: str, conversation: str, ticket: int, outcome: asyncio.Future[pb.ServerFrame]) -> None:
        self.client_id = client_id
        self.conversation = conversation
        self.ticket = ticket
        self._outcome = outcome

    @property
    def state(self) -> MessageState:
        """Sending, sent or failed; what the others did with it comes as `Progress` in `events`."""
        if not self._outcome.done():
            return MessageState.SENDING
        return MessageState.FAILED if self._outcome.cancelled() or self._outcome.exception() else MessageState.SENT

    async def sent(self) -> Sent:
        """When the server has it. Raises what came of it instead."""
        return Sent.from_proto((await asyncio.shield(self._outcome)).sent)
