"""Keeping the index of large groups equal to what storage says.

Theory of operation. Who of this node's users reads which large group comes with each welcome, and then by news that may
be lost: with a node, with Kafka, with a change of the ring. So the index is a cache, and is compared: all users within
`every_s`, a few each second, and at once those of whom something may have been lost. What storage says is made true
both ways: who was added is told the group's head, who is out hears nothing more of it. News that comes while an answer
is on its way may be newer than it, so that user, and only that one, is asked about again.

Guarantees: a wrong entry is right after `every_s` and the time of an answer, however busy the groups are; while
logic is away users stay noted and are asked about again. A list that is known to be incomplete removes nobody.

Does not know: how the index is used, what a membership is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final

from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.requests.pongs import GROUPS_MAX, Groups, HeartbeatReplies
from services.access.session.session import Phase
from services.common.scope import Owned, TaskScope
from services.common.telemetry import logs, metrics
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import BROADCAST

STEP_S: Final = 1.0
ROUNDS: Final = 5
ROUNDING: Final = 1e-6

log = logs.get_logger(__name__)


class GroupIndex(Owned):
    """Compares while it is entered."""

    def __init__(self, hub: Hub[Connection], heads: HeartbeatReplies, *, every_s: float) -> None:
        self._hub = hub
        self._heads = heads
        self._every_s = every_s
        self._round: deque[str] = deque()
        self._share = self._credit = 0.0  # users for each step of this round; for the next step
        self._again: dict[str, None] = {}
        self._scope = TaskScope()

    async def _running(self) -> AsyncIterator[None]:
        async with self._scope:
            self._scope.spawn(self._run(), name="group index")
            yield

    async def compare(self, users: Iterable[str]) -> None:
        """Now; who cannot be compared now is noted for the next step."""
        waiting = list(users)
        for _ in range(ROUNDS):
            waiting = await self._compare_once(waiting)
            if not waiting:
                return
        self._again.update(dict.fromkeys(waiting))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(STEP_S)
            again, self._again = list(self._again), {}
            users = [user for user in again if user in self._hub] + self._next()
            if users:
                await self.compare(users)

    def _next(self) -> list[str]:
        """The next of those whose turn it is by time."""
        if not self._round:
            self._round.extend(self._hub.users())
            self._share = len(self._round) * STEP_S / self._every_s
            self._credit = 0.0
        self._credit += self._share
        count = min(int(self._credit + ROUNDING), len(self._round))
        self._credit -= count
        taken = [self._round.popleft() for _ in range(count)]
        return [user for user in taken if user in self._hub]

    async def _compare_once(self, users: Sequence[str]) -> list[str]:
        """Those who are to be asked about again."""
        again: list[str] = []
        for first in range(0, len(users), GROUPS_MAX):
            part = users[first : first + GROUPS_MAX]
            with self._hub.changes() as changed:
                try:
                    found = await self._heads.groups(part)
                except TidingsError as error:
                    log.info("large groups cannot be compared yet", users=len(users), error=str(error))
                    await asyncio.sleep(STEP_S)
                    return [*again, *users[first:]]
                current = [(user, groups) for user, groups in zip(part, found, strict=True) if user not in changed]
                again += [user for user in part if user in changed and user in self._hub]
            for user, groups in current:
                if groups is not None:
                    self._make_equal(user, groups)
        return again

    def _make_equal(self, user: str, groups: Groups) -> None:
        known = set(self._hub.groups_of(user))
        fresh = {group: head for group, head in groups.heads.items() if group not in known and group != BROADCAST}
        for group in fresh:
            self._hub.join(group, user)
        if groups.complete:
            for group in known - groups.heads.keys():
                self._hub.leave(group, user)
                metrics.INDEX_REPAIRED.labels("left").inc()
        if fresh:
            metrics.INDEX_REPAIRED.labels("joined").inc(len(fresh))
            for connection in self._hub.connections_of(user):
                if connection.session.phase is Phase.OPEN:
                    self._heads.push_heads(connection, fresh)
