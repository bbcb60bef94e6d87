"""Tells owners which of their users are connected here, by the calls that `Visits` asks for.

The calls go through one lane for each group of users, so that the calls for one user never overtake each other: an
owner never forgets a user who left and came back because it heard of both the other way round.

Guarantees: `ensure` returns when the owners have confirmed to this boot, or their calls have failed, however
they failed. A call that failed is made again every second until the owner, the ring or the user makes it needless.
`on_late` gets the users whose owner has confirmed only at a later try: what was pushed meanwhile did not reach them.

Does not know: sessions, pushes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from protos.tidings.internal.v1 import access_pb2
from services.access.placement.visits import Visits
from services.common.gatherer import RETRY_S
from services.common.lanes.entered import LaneHolder
from services.common.lanes.lane import Lanes
from services.common.registry.contract import NodeIncarnation, NodeRecord
from services.common.rpc.contract import PeersPort
from services.common.telemetry import logs, metrics
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import hash64

VISIT: Final = "/tidings.internal.v1.Access/Visit"
LANES: Final = 4
BATCH_MAX: Final = 2000
CHUNK: Final = 2000
# An owner that hangs must not keep its visitors from their sessions for longer.
TIMEOUT_MAX_S: Final = 1.0

log = logs.get_logger(__name__)


class VisitCalls(LaneHolder):
    """Tells owners of their visitors while it is entered.

    `me` is this node's present boot. `wanted` gives the owner that should forward for a user; None if the user
    is not connected here, or owned here. `node` gives the record of a node that is alive.
    """

    def __init__(
        self,
        peers: PeersPort,
        *,
        me: Callable[[], NodeIncarnation],
        wanted: Callable[[str], NodeIncarnation | None],
        node: Callable[[str], NodeRecord | None],
        capacity: int,
        timeout_s: float,
        on_late: Callable[[list[str]], None],
    ) -> None:
        self.visits = Visits()
        self._peers = peers
        self._me = me
        self._wanted = wanted
        self._node = node
        self._timeout_s = min(timeout_s, TIMEOUT_MAX_S)
        self._lanes: Lanes[str, bool] = Lanes(
            "visits", self._tell_batch, lanes=LANES, capacity=capacity, batch_max=BATCH_MAX
        )
        self._failed: set[str] = set()
        self._leaving: set[str] = set()  # their departure waits in a lane, or is being told
        self._on_late = on_late

    def _parts(self) -> Iterable[AbstractAsyncContextManager[Any]]:
        return (self._lanes,)

    @property
    def depth(self) -> int:
        """How many users wait for a call."""
        return self._lanes.depth

    @property
    def failed(self) -> int:
        """How many users a call has failed for."""
        return len(self._failed)

    async def ensure(self, users: Sequence[str]) -> set[str]:
        """Makes the calls that are due for these users; the users for whom they failed.

        A cancellation leaves the calls to the lanes: they are made all the same.
        """
        failed: set[str] = set()
        # After a change of the ring these may be all users of the node: other tasks run between two chunks.
        for first in range(0, len(users), CHUNK):
            part = users[first : first + CHUNK]
            due = list(dict.fromkeys(self.visits.due(part, self._wanted)))
            # A user who comes back while the owner is being told of the departure has to be told of after that.
            due += [user for user in part if user in self._leaving and user not in due]
            outcomes = await asyncio.gather(*(self._tell(user) for user in due))
            failed.update(user for user, done in zip(due, outcomes, strict=True) if not done)
            if len(users) > CHUNK:
                await asyncio.sleep(0)
        return failed

    def left(self, user: str) -> None:
        """Tells the owner in a moment that the user's last connection here has ended."""
        if self.visits.owner_of(user) is not None:
            self._leaving.add(user)
            self._later(user)

    async def run(self) -> None:
        """Makes the calls that failed again, for ever."""
        while True:
            await asyncio.sleep(RETRY_S)
            metrics.VISITS.set(len(self.visits))
            for user in tuple(self._failed)[:BATCH_MAX]:
                self._later(user)

    def _later(self, user: str) -> None:
        try:
            self._lanes.offer(hash64(user), user)
        except TidingsError:
            self._failed.add(user)

    async def _tell(self, user: str) -> bool:
        try:
            return await self._lanes.submit(hash64(user), user)
        except TidingsError:
            self._failed.add(user)
            return False

    async def _tell_batch(self, users: list[str]) -> list[bool | TidingsError]:
        """Calls the new owners of these users first, then the old ones."""
        late = self._failed.intersection(users)
        self._failed -= late
        try:
            return await self._tell_all(users, late)
        except BaseException:
            self._failed.update(late, users)
            raise

    async def _tell_all(self, users: list[str], late: set[str]) -> list[bool | TidingsError]:
        me = self._me()
        arrivals = self.visits.arrivals(dict.fromkeys(users), self._wanted)
        failed: set[str] = set()
        for owner, visitors, done in await self._call_all(me, arrivals, arrived=True):
            # An owner that an earlier boot asked forwards to that one, which is gone.
            if done and self._me() == me:
                self.visits.confirm(owner, visitors)
            else:
                failed.update(visitors)
        departures = self.visits.departures(dict.fromkeys(users), self._wanted)
        for owner, visitors, done in await self._call_all(me, departures, arrived=False):
            if done:
                self.visits.released(owner, visitors)
            else:
                self._failed.update(visitors)
        self._failed |= failed
        self._leaving.difference_update(users)
        confirmed = [user for user in late - failed if self.visits.owner_of(user) is not None]
        if confirmed:
            self._on_late(confirmed)
        return [user not in failed for user in users]

    async def _call_all(
        self, me: NodeIncarnation, calls: dict[NodeIncarnation, list[str]], *, arrived: bool
    ) -> list[tuple[NodeIncarnation, list[str], bool]]:
        outcomes = await asyncio.gather(*(self._call(me, owner, users, arrived) for owner, users in calls.items()))
        return [(owner, users, done) for (owner, users), done in zip(calls.items(), outcomes, strict=True)]

    async def _call(self, me: NodeIncarnation, owner: NodeIncarnation, users: list[str], arrived: bool) -> bool:
        record = self._node(owner.node)
        if record is None or record.boot_id != owner.boot_id:
            # That boot is gone, and its forwarding table with it.
            return not arrived
        batch = access_pb2.VisitBatch(node=me.node, boot_id=me.boot_id)
        (batch.arrived if arrived else batch.left).extend(users)
        try:
            await self._peers.call(VISIT, batch, access_pb2.VisitOutcome, node=record, timeout_s=self._timeout_s)
        except TidingsError as error:
            log.info("an owner could not be told of its visitors", owner=owner.node, users=len(users), error=str(error))
            return False
        return True
