"""Calls to whoever owns a slot, and to whoever would follow when that one does not answer.

All calls between the services may be repeated (the protos say so), so the router goes on with the next node in the
ring's order when one cannot be reached or does not answer in time, until the budget is spent.

Guarantees:
- a node that just failed is tried last for a while: a dead owner costs the first caller a wait, not everyone until its
  lease has run out. The while doubles with each failure in a row and ends with the first answer;
- an error that a service raised is the caller's, with one exception: for Unavailable (the node is stopping, takes no
  more calls, or its database is away) one more node is asked;
- when no node is left, the call waits for the ring to change or a moment to pass, within the budget;
- at the end it raises Unavailable; whether the call was done is then unknown;
- with `wanted`, no try begins once it says no: whoever asked is gone, and what is done late in their name would undo
  what they did elsewhere meanwhile.

Does not know: what is called.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from google.protobuf.message import Message

from services.common.backoff import Backoff
from services.common.cluster import Cluster
from services.common.registry.contract import NodeKind, NodeRecord
from services.common.rpc.contract import PeersPort, Reply, TimedOut, Unreachable, label_of
from services.common.rpc.demotion import Demotions
from services.common.telemetry import metrics
from tidings_protocol.errors import Unavailable

PAUSE_S = 0.05
PAUSE_MAX_S = 0.5
# Less time than this is not worth a try.
TRY_MIN_S = 0.01


class Router:
    """Calls the nodes of one kind by slot."""

    def __init__(
        self, peers: PeersPort, cluster: Cluster, kind: NodeKind, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._peers = peers
        self._cluster = cluster
        self._kind: NodeKind = kind
        self._now = now
        # Who is tried last.
        self._demotions = Demotions()

    def owner(self, slot: int) -> NodeRecord | None:
        """The node that owns the slot now: to group a batch by. None if no node of the kind is ready."""
        name = self._cluster.ring(self._kind).owner(slot)
        return self._cluster.node(name) if name is not None else None

    def order(self, slot: int) -> list[NodeRecord]:
        """The nodes in the order in which a call would try them now."""
        found = (self._cluster.node(name) for name in self._cluster.ring(self._kind).preference(slot))
        nodes = [node for node in found if node is not None]
        if self._demotions:
            now = self._now()
            nodes.sort(key=lambda node: self._demotions.holds(node.boot_id, now))
        return nodes

    async def call(
        self,
        slot: int,
        method: str,
        request: Message,
        reply_type: type[Reply],
        *,
        timeout_s: float,
        budget_s: float,
        wanted: Callable[[], bool] | None = None,
    ) -> Reply:
        """One call to the slot's owner or, if need be, the next; `timeout_s` for each try, `budget_s` for all."""
        deadline = self._now() + budget_s
        tried: set[str] = set()
        refused: Unavailable | None = None
        last = f"no {self._kind} node is ready: try again"
        backoff: Backoff | None = None
        while (left_s := deadline - self._now()) > TRY_MIN_S:
            if wanted is not None and not wanted():
                raise Unavailable("whoever asked for this is gone, so it is not tried again")
            node = self._next(slot, tried)
            if node is None:
                backoff = backoff or Backoff(PAUSE_S, PAUSE_MAX_S)
                await self._moment(min(backoff.next_s(), left_s))
                tried.clear()
                continue
            try:
                reply = await self._peers.call(method, request, reply_type, node=node, timeout_s=min(timeout_s, left_s))
            except (Unreachable, TimedOut) as error:
                self._demotions.failed(node.boot_id, self._now(), self._cluster.alive)
                last = error.message
            except Unavailable as error:
                if refused is not None:
                    raise
                refused, last = error, error.message
            else:
                self._demotions.answered(node.boot_id)
                return reply
            tried.add(node.boot_id)
            metrics.RPC_RETRIES.labels(label_of(method)).inc()
        raise refused or Unavailable(last)

    def _next(self, slot: int, tried: set[str]) -> NodeRecord | None:
        if not tried and not self._demotions:
            return self.owner(slot)
        return next((node for node in self.order(slot) if node.boot_id not in tried), None)

    async def _moment(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._cluster.changed()
        except TimeoutError:
            return
