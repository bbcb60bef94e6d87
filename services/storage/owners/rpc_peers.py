"""The other storage nodes over gRPC, found by the ring.

Guarantees: a call has a short deadline and is not repeated; appends of more bytes than a call carries are several calls
within that time. A node that did not answer, or whose database is away, is left alone for a while that doubles, so that
one neighbour out of reach costs a batch or two a wait, not all of them until its lease has run out or the link is back.
`forget`, which nobody waits for, is called all the same: as long as there is something to tell, it finds out soon that
the neighbour is back. Who is alive is known only while the registry answers.
Does not know: what the calls mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message

from protos.tidings.internal.v1 import common_pb2, storage_pb2
from services.common.clock import Clock
from services.common.cluster import Cluster
from services.common.rpc import PeersPort
from services.common.rpc.demotion import Demotions
from services.storage.owners.peers import NotAttempted
from tidings_protocol.errors import Unavailable

Reply = TypeVar("Reply", bound=Message)

SERVICE = "/tidings.internal.v1.Storage/"
# An entry has at most 230 bytes, so these fit into one call.
APPENDS_MAX = 50_000


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
        if len(batch.items) <= APPENDS_MAX:
            return await self._call(owner, "Append", batch, storage_pb2.AppendOutcomes)
        # One after the other, since a user's entries keep their order, and all within the time that one has.
        deadline = self._clock.now_s() + self._timeout_s
        answer = storage_pb2.AppendOutcomes()
        for start in range(0, len(batch.items), APPENDS_MAX):
            part = storage_pb2.AppendBatch(items=batch.items[start : start + APPENDS_MAX])
            left_s = max(0.001, deadline - self._clock.now_s())
            try:
                answer.MergeFrom(await self._call(owner, "Append", part, storage_pb2.AppendOutcomes, timeout_s=left_s))
            except NotAttempted as error:
                if not start:
                    raise
                # Of the whole that is not true: the first part was done.
                raise Unavailable(error.message) from None
        return answer

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
        timeout_s: float | None = None,
    ) -> Reply:
        node = self._cluster.node(owner)
        if node is None or (not always and self._demotions.holds(node.boot_id, self._clock.now_s())):
            raise NotAttempted(f"the storage node {owner} does not answer: try again")
        try:
            reply = await self._peers.call(
                SERVICE + method, request, reply_type, node=node, timeout_s=timeout_s or self._timeout_s
            )
        except Unavailable:
            self._failed(node.boot_id)
            raise
        self._demotions.answered(node.boot_id)
        return reply

    def _failed(self, boot: str) -> None:
        """Calls that were under way together count once."""
        now_s = self._clock.now_s()
        if not self._demotions.holds(boot, now_s):
            self._demotions.failed(boot, now_s, self._cluster.alive)
