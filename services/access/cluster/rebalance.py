"""What a node does when the ring of access nodes has changed.

    at once               visits are made with the new owners of the moved slots, visitors of dead nodes are forgotten
    after a short delay   the inbox heads of the users in the moved slots are read, and who lags is nudged: this finds
                          what was on its way to the wrong node; their large groups are compared too (group_index.py)
    then, at a pace       under placement `ring`, sessions whose slot moved are asked to go to the new owner

Guarantees: one change is worked on at a time; changes that come meanwhile are taken together. A user is asked to move
only if the ring still says so, and not to a node that this client said it cannot reach.

Does not know: how rings are laid, who forwards what.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

from services.access.cluster.group_index import GroupIndex
from services.access.cluster.head_checks import HeadChecks
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.placement.placement import Placement
from services.access.placement.visit_calls import VisitCalls
from services.access.presence.notifier import PresenceNotifier
from services.access.requests.pongs import HeartbeatReplies
from services.access.session.events import AskedToLeave
from services.access.session.session import Phase
from services.common.cluster import Cluster
from services.common.gatherer import RETRY_S
from services.common.registry.contract import Membership
from services.common.ring import Ring
from services.common.scope import Owned, TaskScope
from services.common.telemetry import logs, metrics
from tidings_protocol import close
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import slot_of

GATHER_S: Final = 0.1
RETRIES: Final = 5
MOVE_RETRY_MS: Final = 1000

log = logs.get_logger(__name__)


class Rebalance(Owned):
    """Follows the cluster while it is entered."""

    def __init__(
        self,
        cluster: Cluster,
        hub: Hub[Connection],
        placement: Placement,
        visit_calls: VisitCalls,
        forwarding: ForwardingTable,
        heads: HeartbeatReplies,
        index: GroupIndex,
        presence: PresenceNotifier,
        checks: HeadChecks,
        *,
        moves_per_s: float,
        head_check_delay_s: float,
        staying: Callable[[], bool],
    ) -> None:
        """`checks`: what others ask for too; `staying`: this node is ready, so that it may send its sessions elsewhere
        one by one."""
        self._cluster = cluster
        self._hub = hub
        self._placement = placement
        self._visit_calls = visit_calls
        self._forwarding = forwarding
        self._heads = heads
        self._index = index
        self._presence = presence
        self._checks = checks
        self._moves_per_s = moves_per_s
        self._head_check_delay_s = head_check_delay_s
        self._staying = staying
        self._ring: Ring = cluster.ring("access")
        self._moved: set[int] = set()
        self._moving: deque[Connection] = deque()
        self._some_move = asyncio.Event()
        self._scope = TaskScope()

    async def _running(self) -> AsyncIterator[None]:
        async with self._scope:
            self._ring = self._cluster.ring("access")
            unsubscribe = self._cluster.subscribe(self._on_change)
            self._scope.spawn(self._run(), name="rebalance")
            self._scope.spawn(self._move(), name="moves")
            try:
                yield
            finally:
                unsubscribe()

    @property
    def waiting(self) -> int:
        """Sessions that are to be asked to move."""
        return len(self._moving)

    def _on_change(self, old: Membership, new: Membership) -> None:
        alive = {node.boot_id for node in new.nodes}
        if any(node.boot_id not in alive for node in old.nodes if node.kind == "access"):
            self._forwarding.keep(self._cluster.alive)
            self._visit_calls.visits.forget(self._cluster.alive)
            self._presence.node_died()
            self._checks.check(())
        ring = self._cluster.ring("access")
        if ring != self._ring:
            self._moved |= ring.moved(self._ring)
            self._ring = ring
            metrics.RING_SLOTS_OWNED.labels("access").set(ring.owners.count(self._placement.name))
            self._checks.check(())

    async def _run(self) -> None:
        while True:
            await self._checks.asked.wait()
            await asyncio.sleep(GATHER_S)
            due = self._checks.take()
            moved, self._moved = self._moved, set()
            users = list(self._hub.users()) if due.everyone else list({*self._users_in(moved), *due.users})
            metrics.VISITORS.set(len(self._forwarding))
            # All users, not only the moved: an owner may have come back as another boot.
            await self._visit_calls.ensure(list(self._hub.users()))
            if self._placement.follows_ring and moved and self._staying():
                self._ask_to_move(moved)
            if users:
                await asyncio.sleep(self._head_check_delay_s)
                await self._check_heads(users)
                await self._index.compare(users)

    def _users_in(self, slots: set[int]) -> list[str]:
        return [user for user in self._hub.users() if slot_of(user) in slots] if slots else []

    async def _check_heads(self, users: list[str]) -> None:
        for _ in range(RETRIES):
            try:
                heads = await self._heads.read(users)
            except TidingsError as error:
                log.info("heads cannot be compared yet", users=len(users), error=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            metrics.HEAD_CHECKS.inc(len(users))
            for user, head in zip(users, heads, strict=True):
                for connection in self._hub.connections_of(user):
                    if head > connection.delivery.shown:
                        connection.nudge(head, "ring")
            return

    # ---- moves

    def _ask_to_move(self, slots: set[int]) -> None:
        waiting = set(self._moving)
        found = [
            connection
            for user in self._users_in(slots)
            for connection in self._hub.connections_of(user)
            if connection not in waiting and self._target(connection)
        ]
        random.shuffle(found)
        self._moving.extend(found)
        if found:
            self._some_move.set()

    async def _move(self) -> None:
        while True:
            await self._some_move.wait()
            while self._moving:
                connection = self._moving.popleft()
                address = self._target(connection)
                if address and connection.session.phase is Phase.OPEN and self._staying():
                    metrics.MOVES.inc()
                    retry_ms = random.randrange(MOVE_RETRY_MS)
                    connection.leave(AskedToLeave(close.MOVED, retry_after_ms=retry_ms, address=address))
                    await asyncio.sleep(random.uniform(0.5, 1.5) / self._moves_per_s)
            self._some_move.clear()

    def _target(self, connection: Connection) -> str:
        return self._placement.address_for(connection.user, connection.transport.name, connection.identity.avoid)
