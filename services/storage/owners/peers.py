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
    """The call was not made at all, since that node did not answer a moment ago: nothing of it can have been done."""


class StoragePeers(Protocol):
    """Calls to the owners of slots. Each has a short deadline, and is not repeated by itself.

    `owner` is a name that `owner_of` gave. Every call raises Unavailable if that node does not answer in time, and
    NotAttempted if it was not asked. Cancelling a call is safe, but it may be done all the same.
    """

    def owner_of(self, slot: int) -> str | None:
        """The other node that owns this slot of users or conversations; None: this one, or nobody."""
        ...

    async def append(self, owner: str, batch: storage_pb2.AppendBatch) -> storage_pb2.AppendOutcomes:
        """Appends inbox entries of its users; the numbers are aligned with the items, 0 where there is none. With a
        `fault`, those without a number failed by it. After Unavailable some or all entries may be there.
        """
        ...

    async def load(self, owner: str, batch: storage_pb2.LoadBatch) -> storage_pb2.LoadOutcomes:
        """Loads conversations of that node; outcomes are aligned with the items, each may have a fault of its own."""
        ...

    async def heads(self, owner: str, batch: storage_pb2.KeyBatch) -> storage_pb2.HeadOutcomes:
        """Heads and times of its conversations, aligned with the keys; 0 where there is nothing."""
        ...

    async def forget(self, owner: str, batch: storage_pb2.ForgetBatch) -> None:
        """Has the owner read these inboxes and conversations again. It is asked even if it did not answer before."""
        ...

    def live_boots(self) -> frozenset[str] | None:
        """The boot ids of all nodes that are alive; None: not known now."""
        ...


class NoPeers:
    """A node without others: it owns everything, and does not know who is alive."""

    def owner_of(self, slot: int) -> str | None:
        return None

    async def append(self, owner: str, batch: storage_pb2.AppendBatch) -> storage_pb2.AppendOutcomes:
        raise _alone(owner)

    async def load(self, owner: str, batch: storage_pb2.LoadBatch) -> storage_pb2.LoadOutcomes:
        raise _alone(owner)

    async def heads(self, owner: str, batch: storage_pb2.KeyBatch) -> storage_pb2.HeadOutcomes:
        raise _alone(owner)

    async def forget(self, owner: str, batch: storage_pb2.ForgetBatch) -> None:
        raise _alone(owner)

    def live_boots(self) -> frozenset[str] | None:
        return None


def _alone(owner: str) -> AssertionError:
    return AssertionError(f"this node has no peers and cannot ask {owner}: give it another StoragePeers than NoPeers")
