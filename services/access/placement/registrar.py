"""Telling owners where their users are connected: the calls that follow from `visitors.Visits`.

One lane per group of users, so that the calls for one user never overtake each other: a user who left and came back is
never forgotten by an owner that heard it the other way round.

Guarantees: `settle` returns when the owner has confirmed to this boot, or the call has failed, however it failed; what
failed is tried again every second until the owner, the ring or the user makes it needless, and `on_late` is told of the
users for whom it went well later: what was pushed meanwhile did not reach them.

Does not know: sessions, pushes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from protos.tidings.internal.v1 import access_pb2
from services.access.placement.registrations import Host, Visits
from services.common.gatherer import RETRY_S
from services.common.lanes.lane import Lanes
from services.common.registry.contract import NodeRecord
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


class Visiting:
    """`wanted`: the owner that should forward for a user: None if the user is not connected here, or owned here."""

    def __init__(
        self,
        peers: PeersPort,
        *,
        me: Callable[[], Host],
        wanted: Callable[[str], Host | None],
        node: Callable[[str], NodeRecord | None],
        capacity: int,
        timeout_s: float,
    ) -> None:
        self.visits = Visits()
        self._peers = peers
        self._me = me
        self._wanted = wanted
        self._node = node
        self._timeout_s = min(timeout_s, TIMEOUT_MAX_S)
        self._lanes: Lanes[str, bool] = Lanes(
            "visits", self._handle, lanes=LANES, capacity=capacity, batch_max=BATCH_MAX
        )
        self._unsettled: set[str] = set()
        self._leaving: set[str] = set()  # their departure waits in a lane, or is being told
        self.on_late: Callable[[list[str]], None] = lambda _: None

    async def __aenter__(self) -> Self:
        await self._lanes.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._lanes.__aexit__(kind, error, traceback)

    @property
    def depth(self) -> int:
        return self._lanes.depth

    @property
    def unsettled(self) -> int:
        """Users for whom a call has failed."""
        return len(self._unsettled)

    async def settle(self, users: Sequence[str]) -> set[str]:
        """Makes the calls that are due for these users; those for whom they failed."""
        failed: set[str] = set()
        # After a change of the ring these may be all users of the node: others get their turn in between.
        for first in range(0, len(users), CHUNK):
            part = users[first : first + CHUNK]
            due = list(dict.fromkeys(self.visits.unsettled(part, self._wanted)))
            # Who comes back while the owner is still being told that it left has to be announced after that.
            due += [user for user in part if user in self._leaving and user not in due]
            settled = await asyncio.gather(*(self._settle(user) for user in due))
            failed.update(user for user, done in zip(due, settled, strict=True) if not done)
            if len(users) > CHUNK:
                await asyncio.sleep(0)
        return failed

    def left(self, user: str) -> None:
        """The user's last connection here ended: the owner is told in a moment."""
        if self.visits.owner_of(user) is not None:
            self._leaving.add(user)
            self._later(user)

    async def run(self) -> None:
        """Tries again what failed, for ever."""
        while True:
            await asyncio.sleep(RETRY_S)
            metrics.VISITS.set(len(self.visits))
            for user in tuple(self._unsettled)[:BATCH_MAX]:
                self._later(user)

    def _later(self, user: str) -> None:
        try:
            self._lanes.offer(hash64(user), user)
        except TidingsError:
            self._unsettled.add(user)

    async def _settle(self, user: str) -> bool:
        try:
            return await self._lanes.submit(hash64(user), user)
        except TidingsError:
            self._unsettled.add(user)
            return False

    async def _handle(self, users: list[str]) -> list[bool | TidingsError]:
        """First the new owners, then the old ones, for these users."""
        late = self._unsettled.intersection(users)
        self._unsettled -= late
        try:
            return await self._settle_all(users, late)
        except BaseException:
            self._unsettled.update(late, users)
            raise

    async def _settle_all(self, users: list[str], late: set[str]) -> list[bool | TidingsError]:
        me = self._me()
        arrivals = self.visits.arrivals(dict.fromkeys(users), self._wanted)
        failed: set[str] = set()
        for owner, found, done in await self._tell(me, arrivals, arrived=True):
            # An owner that was asked by a boot of before forwards to that one, which is nobody now.
            if done and self._me() == me:
                self.visits.confirm(owner, found)
            else:
                failed.update(found)
        departures = self.visits.departures(dict.fromkeys(users), self._wanted)
        for owner, found, done in await self._tell(me, departures, arrived=False):
            if done:
                self.visits.released(owner, found)
            else:
                self._unsettled.update(found)
        self._unsettled |= failed
        self._leaving.difference_update(users)
        settled = [user for user in late - failed if self.visits.owner_of(user) is not None]
        if settled:
            self.on_late(settled)
        return [user not in failed for user in users]

    async def _tell(
        self, me: Host, calls: dict[Host, list[str]], *, arrived: bool
    ) -> list[tuple[Host, list[str], bool]]:
        outcomes = await asyncio.gather(*(self._visit(me, owner, users, arrived) for owner, users in calls.items()))
        return [(owner, users, done) for (owner, users), done in zip(calls.items(), outcomes, strict=True)]

    async def _visit(self, me: Host, owner: Host, users: list[str], arrived: bool) -> bool:
        record = self._node(owner.node)
        if record is None or record.boot_id != owner.boot_id:
            # That boot is gone, and what it knew with it.
            return not arrived
        batch = access_pb2.VisitBatch(node=me.node, boot_id=me.boot_id)
        (batch.arrived if arrived else batch.left).extend(users)
        try:
            await self._peers.call(VISIT, batch, access_pb2.VisitOutcome, node=record, timeout_s=self._timeout_s)
        except TidingsError as error:
            log.info("an owner could not be told of its visitors", owner=owner.node, users=len(users), error=str(error))
            return False
        return True
