"""A storage node on its ports, without wire and settings: what rpc.py serves and what a simulation runs many of.

    messages, changes ─▶ conversations ─▶ diffusion ─▶ inboxes (here, or at the users' owners)
    marks ─▶ marking      pages ─▶ reading      lists, loads ─▶ listing      sessions ─▶ sessions
    all that may wait ─▶ writing_behind      the time of day, for all of these ◀─ timekeeping

Guarantees: leaving does what was accepted, then writes what was to be written behind; after that every conversation is
settled.
Does not know: gRPC, etcd, MongoDB.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from services.common.clock import Clock
from services.common.scope import TaskScope
from services.storage.cursors.acknowledging import Acknowledging
from services.storage.cursors.marking import Marking
from services.storage.inboxes.fanout import Diffusion
from services.storage.inboxes.writer import Inboxes
from services.storage.limits import Limits
from services.storage.memory.write_behind import WriteBehind
from services.storage.messages.conversations import Conversations
from services.storage.owners.invalidation import Telling
from services.storage.owners.peers import Neighbours
from services.storage.pages.lists import Listing
from services.storage.pages.reading import Reading
from services.storage.repository.contract import Repository
from services.storage.sessions.sessions import Sessions
from services.storage.upkeep.retention import DAY_MS, Policy, Retention
from services.storage.upkeep.session_sweep import SessionSweep
from services.storage.upkeep.timekeeping import Timekeeper
from tidings_protocol.ids import SLOTS, new_id

# How long after a change of the ring the one who owned a slot before may still write to it.
RING_SETTLES_S = 3.0


@dataclass(slots=True, eq=False)
class Storage:
    """The parts that answer. Make one with `storage`."""

    conversations: Conversations
    inboxes: Inboxes
    marking: Marking
    reading: Reading
    listing: Listing
    sessions: Sessions
    acknowledging: Acknowledging
    behind: WriteBehind
    telling: Telling
    retention: Retention
    sweep: SessionSweep
    _moved: asyncio.Queue[frozenset[int]] = field(default_factory=lambda: asyncio.Queue(maxsize=1024))

    def lanes(self) -> dict[str, dict[str, int]]:
        """How full the lanes are."""
        parts = (self.conversations, self.inboxes, self.marking, self.reading, self.sessions)
        return {
            lanes.name: {"depth": lanes.depth, "capacity": lanes.capacity} for lanes in (part.lanes for part in parts)
        }

    async def forget(self, users: Sequence[str], conversations: Sequence[str]) -> None:
        """Another node wrote to these in this one's place. Raises Overloaded."""
        await self.behind.flush()
        await self.inboxes.forget(users)
        await self.conversations.forget(conversations)

    def neighbour_died(self) -> None:
        """It may have written to anything, and not have told: nothing that is in memory is trusted any more."""
        self.ring_changed(frozenset(range(SLOTS)))

    def ring_changed(self, moved: frozenset[int]) -> None:
        """These slots came to this node or left it: what is in memory of them is not trusted any more.

        It is dropped once more a little later, when the one before has noticed too and has written what it held back.
        """
        if not moved:
            return
        self.conversations.drop_slots(moved)
        self.inboxes.drop_slots(moved)
        if not self._moved.full():
            self._moved.put_nowait(moved)

    async def drop_again(self) -> None:
        """Runs for ever, until it is cancelled."""
        while True:
            moved = await self._moved.get()
            await asyncio.sleep(RING_SETTLES_S)
            while not self._moved.empty():
                moved |= self._moved.get_nowait()
            await self.behind.flush()
            self.conversations.drop_slots(moved)
            self.inboxes.drop_slots(moved)


def _kept_ms(policy: Policy) -> int:
    """No inbox entry of a younger message is removed; a day if all are kept now, which may have been different."""
    return min(filter(None, (policy.inbox_days, policy.message_days)), default=1) * DAY_MS


@asynccontextmanager
async def storage(
    repository: Repository,
    neighbours: Neighbours,
    clock: Clock,
    limits: Limits,
    *,
    policy: Policy | None = None,
    sweep_interval_s: float = 30.0,
) -> AsyncIterator[Storage]:
    """A node that works until it is left. Raises Unavailable if the repository does not answer."""
    epoch = await repository.users.epoch(new_id())
    time = Timekeeper(clock, repository.time)
    await time.measure()
    behind = WriteBehind(repository, time)
    telling = Telling(neighbours, behind)
    policy = policy or Policy()
    inboxes = Inboxes(repository, neighbours, telling, time, limits, kept_ms=_kept_ms(policy))
    diffusion = Diffusion(inboxes, neighbours)
    conversations = Conversations(repository, diffusion, behind, neighbours, telling, time, limits)
    marking = Marking(repository, conversations, behind, limits)
    listing = Listing(repository, conversations, neighbours, time, limits)
    node = Storage(
        conversations=conversations,
        inboxes=inboxes,
        marking=marking,
        reading=Reading(repository, conversations, inboxes, limits),
        listing=listing,
        sessions=Sessions(repository, inboxes, listing, time, limits, epoch),
        acknowledging=Acknowledging(repository, inboxes, marking, behind),
        behind=behind,
        telling=telling,
        retention=Retention(repository, conversations, behind, neighbours, time, policy),
        sweep=SessionSweep(repository, neighbours, time),
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(behind.flush)
        stack.push_async_callback(telling.tell)
        # Those that use others are entered after them, so that they end first.
        for part in (inboxes, conversations, node.marking, node.reading, node.sessions):
            await stack.enter_async_context(part.running())
        scope = await stack.enter_async_context(TaskScope())
        scope.spawn(behind.run(limits.flush_interval_s), name="write behind")
        scope.spawn(node.drop_again(), name="ring settles")
        scope.spawn(telling.run(), name="telling")
        scope.spawn(time.run(), name="time")
        scope.spawn(node.retention.run(), name="retention")
        scope.spawn(node.sweep.run(sweep_interval_s), name="session sweep")
        yield node
