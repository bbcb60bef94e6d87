"""What a node does when the ring of access nodes has changed.

    at once               visits are made with the new owners of the moved slots, dead guests are forgotten
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
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self

from services.access.cluster.group_index import GroupIndex
from services.access.connection.connection import Connection
from services.access.connection.events import AskedToLeave
from services.access.connection.hub import Hub
from services.access.connection.session import Phase
from services.access.placement.placement import Placement
from services.access.placement.registrar import Visiting
from services.access.placement.registrations import Guests
from services.access.presence.notifier import Watching
from services.access.requests.pongs import Heads
from services.common.cluster import Cluster
from services.common.gatherer import RETRY_S, Gatherer
from services.common.registry.contract import Membership
from services.common.ring import Ring
from services.common.scope import TaskScope
from services.common.telemetry import logs, metrics
from tidings_protocol import close
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import slot_of

GATHER_S: Final = 0.1
RETRIES: Final = 5
MOVE_RETRY_MS: Final = 1000

log = logs.get_logger(__name__)


class Rebalance:
    """Follows the cluster while it is entered."""

    def __init__(
        self,
        cluster: Cluster,
        hub: Hub[Connection],
        placement: Placement,
        visiting: Visiting,
        guests: Guests,
        heads: Heads,
        index: GroupIndex,
        watching: Watching,
        *,
        moves_per_s: float,
        head_check_delay_s: float,
        staying: Callable[[], bool],
    ) -> None:
        """`staying`: this node is ready, so that it may send its sessions elsewhere one by one."""
        self._cluster = cluster
        self._hub = hub
        self._placement = placement
        self._visiting = visiting
        self._guests = guests
        self._heads = heads
        self._index = index
        self._watching = watching
        self._moves_per_s = moves_per_s
        self._head_check_delay_s = head_check_delay_s
        self._staying = staying
        self._ring: Ring = cluster.ring("access")
        self._moved: set[int] = set()
        self._to_check: set[str] = set()
        self._check_all = False
        self._gatherer = Gatherer(self._settle, gather_s=GATHER_S)
        self._moving: deque[Connection] = deque()
        self._some_move = asyncio.Event()
        self._scope = TaskScope()
        self._unsubscribe: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        self._ring = self._cluster.ring("access")
        self._unsubscribe = self._cluster.subscribe(self._on_change)
        self._visiting.on_late = self.check
        self._scope.spawn(self._gatherer.run(), name="rebalance")
        self._scope.spawn(self._move(), name="moves")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._unsubscribe()
        await self._scope.__aexit__(kind, error, traceback)

    @property
    def waiting(self) -> int:
        """Sessions that are to be asked to move."""
        return len(self._moving)

    def check_all(self) -> None:
        """Pushes may have been lost for anybody: compare all heads."""
        self._check_all = True
        self._gatherer.note()

    def check(self, users: Iterable[str]) -> None:
        """Pushes may have been lost for these."""
        self._to_check.update(users)
        self._gatherer.note()

    def _on_change(self, old: Membership, new: Membership) -> None:
        alive = {node.boot_id for node in new.nodes}
        if any(node.boot_id not in alive for node in old.nodes if node.kind == "access"):
            self._guests.keep(self._cluster.alive)
            self._visiting.visits.forget(self._cluster.alive)
            self._watching.node_died()
            self._gatherer.note()
        ring = self._cluster.ring("access")
        if ring != self._ring:
            self._moved |= ring.moved(self._ring)
            self._ring = ring
            metrics.RING_SLOTS_OWNED.labels("access").set(ring.owners.count(self._placement.name))
            self._gatherer.note()

    async def _settle(self) -> bool:
        """Works on all changes that have gathered; what fails in it is tried again where it stands."""
        moved, self._moved = self._moved, set()
        everyone, self._check_all = self._check_all, False
        some, self._to_check = self._to_check, set()
        users = list(self._hub.users()) if everyone else list({*self._users_in(moved), *some})
        metrics.VISITORS.set(len(self._guests))
        # All users, not only the moved: an owner may have come back as another boot.
        await self._visiting.settle(list(self._hub.users()))
        if self._placement.follows_ring and moved and self._staying():
            self._ask_to_move(moved)
        if users:
            await asyncio.sleep(self._head_check_delay_s)
            await self._check_heads(users)
            await self._index.compare(users)
        return True

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
                for connection in self._hub.of(user):
                    if head > connection.session.outbox.shown:
                        connection.nudge(head, "ring")
            return

    # ---- moves

    def _ask_to_move(self, slots: set[int]) -> None:
        waiting = set(self._moving)
        found = [
            connection
            for user in self._users_in(slots)
            for connection in self._hub.of(user)
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
        return self._placement.address_for(connection.user, connection.transport.name, connection.avoid)
