"""The other storage nodes over gRPC, found by the ring.

Guarantees: a call has a short deadline and is not repeated. A node that did not answer, or whose database is away, is
left alone for a while that doubles, and one that just had too many calls is not: so a node out of reach costs a batch
or two a wait, not all of them until its lease has run out or the link is back. `forget`, which nobody waits for, is
called all the same: as long as there is something to tell, it finds out soon that the node is back. Who is alive is
known only while the registry answers.
Does not know: what the calls mean, how large they may be (inboxes/fanout.py bounds appends).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message

from protos.tidings.internal.v1 import common_pb2, storage_pb2
from services.common.clock import Clock
from services.common.cluster import Cluster
from services.common.rpc import Dropped, PeersPort
from services.common.rpc.demotion import Demotions
from services.storage.owners.peers import NotAttempted
from tidings_protocol.errors import Unavailable

Reply = TypeVar("Reply", bound=Message)

SERVICE = "/tidings.internal.v1.Storage/"


class RpcStoragePeers:
    def __init__(
        self,
        peers: PeersPort,
        cluster: Cluster,
        clock: Clock,
        *,
        name: str,
        timeout_s: float,
        connected: Callable[[], bool],
    ) -> None:
        """`connected`: whether the registry answers."""
        self._peers = peers
        self._cluster = cluster
        self._clock = clock
        self._name = name
        self._timeout_s = timeout_s
        self._connected = connected
        # Who is left alone.
        self._demotions = Demotions()

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
        await self._call(owner, "Forget", batch, common_pb2.Empty, always=True)

    def live_boots(self) -> frozenset[str] | None:
        return self._cluster.boots if self._connected() else None

    async def _call(
        self,
        owner: str,
        method: str,
        request: Message,
        reply_type: type[Reply],
        *,
        always: bool = False,
    ) -> Reply:
        node = self._cluster.node(owner)
        if node is None or (not always and self._demotions.holds(node.boot_id, self._clock.now_s())):
            raise NotAttempted(f"the storage node {owner} does not answer: try again")
        try:
            reply = await self._peers.call(SERVICE + method, request, reply_type, node=node, timeout_s=self._timeout_s)
        except Dropped:
            raise
        except Unavailable:
            self._failed(node.boot_id)
            raise
        self._demotions.answered(node.boot_id)
        return reply

    def _failed(self, boot: str) -> None:
        """Leaves the node alone for a while; calls that were under way together count once."""
        now_s = self._clock.now_s()
        if not self._demotions.holds(boot, now_s):
            self._demotions.failed(boot, now_s, self._cluster.alive)
