"""A node that reaches nobody sends its clients to those that are still in the cluster.

Cut off from everything, a node looks well to its clients: their connections are open, and pings are answered with what
was known last. Nothing that they send is stored, and nothing is pushed to them. That etcd is away says nothing by
itself, since then everyone stays where they are. So a node whose etcd is away asks some logic nodes and some other
access nodes whether they hear it. When for half a lease time nobody did, it asks all that it knows; when none of them
does either, the cluster is about to go on without it (its lease runs out): it takes no new connections and says goodbye
to those that it has, as it does when it leaves on purpose.

A node that is overloaded answers late, and that is an answer: each question waits for as long as the decision does. So
when etcd is away and everyone is slow, not all access nodes send their clients away at once.

Guarantees: a node that is heard by anyone, that is too busy to hear, or that knows of no other access node, sends
nobody away; one answer, or etcd's, ends it.
Does not know: what becomes of the lease (lifecycle.py).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from google.protobuf.message import Message

from protos.tidings.internal.v1 import access_pb2, common_pb2, logic_pb2
from services.access.logic_client import SERVICE as LOGIC
from services.access.placement.visit_calls import VISIT
from services.common.clock import Clock
from services.common.registry.contract import Membership, NodeIncarnation, NodeRecord
from services.common.rpc.contract import PeersPort, TimedOut, Unreachable
from services.common.scope import TaskScope
from services.common.telemetry import logs
from services.common.telemetry.health import Health
from tidings_protocol.errors import TidingsError

CHECK_S: Final = 1.0
LATE_S: Final = 1.5
# Of each kind, so that a large cluster without etcd does not talk about that all the time.
ASKED_MAX: Final = 2
# Before it sends its clients away.
ASKED_LAST_MAX: Final = 16

log = logs.get_logger(__name__)


class Contact(Protocol):
    """What is needed of a Registry."""

    @property
    def connected(self) -> bool: ...


class Neighbours(Protocol):
    """What is needed of a Cluster."""

    @property
    def membership(self) -> Membership: ...


class Isolation:
    """`evacuate` closes the doors and says goodbye to everyone, `readmit` opens the doors."""

    def __init__(
        self,
        registry: Contact,
        cluster: Neighbours,
        peers: PeersPort,
        clock: Clock,
        health: Health,
        *,
        me: Callable[[], NodeIncarnation],
        patience_s: float,
        evacuate: Callable[[], Awaitable[None]],
        readmit: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._cluster = cluster
        self._peers = peers
        self._clock = clock
        self._health = health
        self._me = me
        self._patience_s = patience_s
        self._evacuate = evacuate
        self._readmit = readmit
        self._alone_since_s: float | None = None
        self.isolated = False

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            slept_s = self._clock.now_s()
            await asyncio.sleep(CHECK_S)
            if self._clock.now_s() - slept_s > LATE_S:
                self._alone_since_s = None  # this node itself is late: answers may be there that it has not read
            await self.probe()

    async def probe(self) -> None:
        """Once: whether anybody hears this node, and what follows."""
        asked_s = self._clock.now_s()
        if await self._is_in_touch(ASKED_MAX):
            self._alone_since_s = None
            if self.isolated:
                self._end()
            return
        if self._alone_since_s is None:
            self._alone_since_s = asked_s
        if self.isolated or self._clock.now_s() - self._alone_since_s < self._patience_s:
            return
        if await self._is_in_touch(ASKED_LAST_MAX):
            self._alone_since_s = None
        else:
            await self._begin()

    async def _begin(self) -> None:
        self.isolated = True
        log.warning("nobody hears this node: its clients are sent to others")
        self._health.set("isolation", ok=False, reason="neither etcd nor any other node hears this one")
        await self._evacuate()

    def _end(self) -> None:
        self.isolated = False
        log.info("this node is heard again")
        self._health.set("isolation", ok=True)
        self._readmit()

    async def _is_in_touch(self, most: int) -> bool:
        return self._registry.connected or await self._is_heard(most)

    async def _is_heard(self, most: int) -> bool:
        """Asks so many of each kind; the first answer is enough."""
        access, logic = self._others("access", most), self._others("logic", most)
        if not access:
            return True  # there is nobody to whom the clients could go
        async with TaskScope() as scope:
            asked = [scope.spawn(self._ask(node), name="who hears this node") for node in (*access, *logic)]
            for answer in asyncio.as_completed(asked):
                if await answer:
                    return True
        return False

    def _others(self, kind: str, most: int) -> Sequence[NodeRecord]:
        me = self._me().node
        others = [
            node
            for node in self._cluster.membership.nodes
            if node.kind == kind and node.state == "ready" and node.name != me
        ]
        return random.sample(others, min(most, len(others)))

    async def _ask(self, node: NodeRecord) -> bool:
        """Asks with a batch of nothing: whether the node answers is all that counts."""
        me = self._me()
        method: str
        request: Message
        reply_type: type[Message]
        if node.kind == "logic":
            method, request, reply_type = f"{LOGIC}Acknowledge", logic_pb2.AckBatch(), common_pb2.Empty
        else:
            request, reply_type = access_pb2.VisitBatch(node=me.node, boot_id=me.boot_id), access_pb2.VisitOutcome
            method = VISIT
        try:
            await self._peers.call(method, request, reply_type, node=node, timeout_s=self._patience_s)
        except (Unreachable, TimedOut):
            return False
        except TidingsError:
            pass  # refused: so it was heard
        return True
