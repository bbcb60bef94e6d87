"""The other storage nodes over gRPC, found by the ring.

Guarantees: a call has a short deadline and is not repeated; a node that did not answer is not called for a moment, so
that one dead neighbour costs one batch a wait, not all of them until its lease has run out.
Does not know: what the calls mean.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import Message

from protos.tidings.internal.v1 import common_pb2, storage_pb2
from services.common.clock import Clock
from services.common.cluster import Cluster
from services.common.errors import Unavailable
from services.common.rpc import PeersPort

Reply = TypeVar("Reply", bound=Message)

SERVICE = "/tidings.internal.v1.Storage/"
LEFT_ALONE_S = 1.0


class RpcNeighbours:
    def __init__(self, peers: PeersPort, cluster: Cluster, clock: Clock, *, name: str, timeout_s: float) -> None:
        self._peers = peers
        self._cluster = cluster
        self._clock = clock
        self._name = name
        self._timeout_s = timeout_s
        self._failed_s: dict[str, float] = {}

    def owner_of(self, slot: int) -> str | None:
        owner = self._cluster.ring("storage").owners[slot]
        return None if owner == self._name else owner

    async def append(self, owner: str, batch: storage_pb2.AppendBatch) -> storage_pb2.AppendOutcomes:
        return await self._call(owner, "Append", batch, storage_pb2.AppendOutcomes)

    async def load(self, owner: str, batch: storage_pb2.LoadBatch) -> storage_pb2.LoadOutcomes:
        return await self._call(owner, "Load", batch, storage_pb2.LoadOutcomes)

    async def heads(self, owner: str, batch: storage_pb2.KeyBatch) -> storage_pb2.HeadOutcomes:
        return await self._call(owner, "ConversationHeads", batch, storage_pb2.HeadOutcomes)

    async def forget(self, owner: str, batch: storage_pb2.ForgetBatch) -> None:
        await self._call(owner, "Forget", batch, common_pb2.Empty)

    def live_boots(self) -> frozenset[str] | None:
        return self._cluster.boots

    async def _call(self, owner: str, method: str, request: Message, reply_type: type[Reply]) -> Reply:
        node = self._cluster.node(owner)
        if node is None or self._clock.now_s() < self._failed_s.get(node.boot_id, 0.0):
            raise Unavailable(f"the storage node {owner} does not answer: try again")
        try:
            return await self._peers.call(SERVICE + method, request, reply_type, node=node, timeout_s=self._timeout_s)
        except Unavailable:
            self._failed_s = {boot: until for boot, until in self._failed_s.items() if self._cluster.alive(boot)}
            self._failed_s[node.boot_id] = self._clock.now_s() + LEFT_ALONE_S
            raise
