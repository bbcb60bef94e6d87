"""The port to what tells recipients of entries that storage made by itself: gathered reactions, streams that fell
silent.

Guarantees of every implementation: `tell` never raises and never waits for anybody; what is not told is lost, and shows
at the next heartbeat as any push that was lost.
Does not know: how entries are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from protos.tidings.internal.v1 import logic_pb2, storage_pb2


class Teller(Protocol):
    def tell(self, items: Sequence[logic_pb2.TellItem]) -> None:
        """Hands these on."""
        ...


class NoTeller:
    """Tells nobody."""

    def tell(self, items: Sequence[logic_pb2.TellItem]) -> None:
        """Does nothing."""


def tell_item(conversation: str, outcome: storage_pb2.StoreOutcome, recipients: Sequence[str]) -> logic_pb2.TellItem:
    """An entry that is stored, as its recipients, who are aligned with the numbers of its outcome, are told of it."""
    return logic_pb2.TellItem(
        conversation=conversation,
        message=outcome.message,
        recipients=recipients,
        numbers=outcome.numbers,
        stubs=outcome.stubs,
    )
