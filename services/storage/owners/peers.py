"""The other storage nodes, as this one needs them.

Guarantees: nothing is right or wrong because of what `owner_of` says; it only makes things fast. Every call may be
repeated.
Does not know: rings, channels (rpc_peers.py does).
"""

# ruff: noqa: ARG002  # who is alone needs no arguments

from __future__ import annotations

from typing import Protocol

from protos.tidings.internal.v1 import storage_pb2
from tidings_protocol.errors import Unavailable


class NotAttempted(Unavailable):
    """The call was not made at all, since that node did not answer a moment ago."""


class StoragePeers(Protocol):
    def owner_of(self, slot: int) -> str | None:
        """The other node that owns this slot of users or conversations; None: this one, or nobody."""
        ...

    async def append(self, owner: str, batch: storage_pb2.AppendBatch) -> storage_pb2.AppendOutcomes:
        """Raises Unavailable; NotAttempted if nothing can have been done."""
        ...

    async def load(self, owner: str, batch: storage_pb2.LoadBatch) -> storage_pb2.LoadOutcomes:
        """Raises Unavailable."""
        ...

    async def heads(self, owner: str, batch: storage_pb2.KeyBatch) -> storage_pb2.HeadOutcomes:
        """Of conversations. Raises Unavailable."""
        ...

    async def forget(self, owner: str, batch: storage_pb2.ForgetBatch) -> None:
        """Raises Unavailable."""
        ...

    def live_boots(self) -> frozenset[str] | None:
        """All boot ids that are alive; None: not known now."""
        ...


class NoPeers:
    """A node without others: it owns everything, and does not know who is alive."""

    def owner_of(self, slot: int) -> str | None:
        return None

    async def append(self, owner: str, batch: storage_pb2.AppendBatch) -> storage_pb2.AppendOutcomes:
        raise AssertionError(f"there is no {owner}")

    async def load(self, owner: str, batch: storage_pb2.LoadBatch) -> storage_pb2.LoadOutcomes:
        raise AssertionError(f"there is no {owner}")

    async def heads(self, owner: str, batch: storage_pb2.KeyBatch) -> storage_pb2.HeadOutcomes:
        raise AssertionError(f"there is no {owner}")

    async def forget(self, owner: str, batch: storage_pb2.ForgetBatch) -> None:
        raise AssertionError(f"there is no {owner}")

    def live_boots(self) -> frozenset[str] | None:
        return None
