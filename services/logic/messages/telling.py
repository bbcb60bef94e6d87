"""Entries that storage made by itself, told to their recipients: gathered reactions, streams that fell silent.

Guarantees: told in the order given; nobody waits for Kafka, unless too much waits for it. The hook is asked about a
stream that storage ended, as about one that its sender ended, but after it is told.

Does not know: how such entries are made.
"""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import logic_pb2
from services.logic.messages.pushes import told_pushes
from services.logic.messages.sender import MessageSender
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.records import Publication
from tidings_protocol import client_pb2


class EntryTeller:
    """Tells what storage nodes hand over."""

    def __init__(self, publisher: Publisher, sender: MessageSender) -> None:
        self._publisher = publisher
        self._sender = sender

    async def tell(self, items: Sequence[logic_pb2.TellItem]) -> None:
        """Hands these to the publisher; a repeat is told again. Never raises for Kafka's sake."""
        outgoing = [push for item in items for push in told_pushes(item)]
        if outgoing:
            await self._publisher.hand_over(Publication(outgoing, messages=len(items)))
        for item in items:
            entry = client_pb2.Message.FromString(item.message)
            if entry.change.HasField("finish"):
                self._sender.review_end(entry)
