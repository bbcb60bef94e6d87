"""A storage node on its ports, without wire and settings: what rpc.py serves and what a simulation runs many of.

    messages, changes ─▶ conversations ─▶ fanout ─▶ inboxes (here, or at the users' owners)
    marks, acknowledgements ─▶ cursors      pages and lists ─▶ pages      logins ─▶ sessions
    all that may wait ─▶ write_behind      the time of day, for all of these ◀─ timekeeping

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
from services.storage.cursors.acknowledgements import Acknowledgements
from services.storage.cursors.writer import CursorWriter
from services.storage.inboxes.fanout import InboxFanout
from services.storage.inboxes.writer import InboxWriter
from services.storage.limits import Limits
from services.storage.memory.write_behind import WriteBehind
from services.storage.messages.conversations import ConversationStore
from services.storage.owners.invalidation import OwnerInvalidation
from services.storage.owners.peers import StoragePeers
from services.storage.pages.lists import ConversationLists
from services.storage.pages.loads import ConversationLoads
from services.storage.pages.reader import PageReader
from services.storage.repository.contract import Repository
from services.storage.sessions.sessions import SessionStore
from services.storage.upkeep.retention import DAY_MS, Retention, RetentionPolicy
from services.storage.upkeep.session_sweep import SessionSweep
from services.storage.upkeep.timekeeping import Timekeeper
from tidings_protocol.ids import new_id

# How long after a change of the ring the owner before may still write to a slot.
RING_SETTLES_S = 3.0


@dataclass(slots=True, eq=False)
class Storage:
    """The parts of a node that answer. Make one with `open_storage`."""

    conversations: ConversationStore
    inboxes: InboxWriter
    cursors: CursorWriter
    pages: PageReader
    loads: ConversationLoads
    lists: ConversationLists
    sessions: SessionStore
    acknowledgements: Acknowledgements
    behind: WriteBehind
    invalidation: OwnerInvalidation
    retention: Retention
    sweep: SessionSweep
    _moved: asyncio.Queue[frozenset[int]] = field(default_factory=lambda: asyncio.Queue(maxsize=1024))

    def lanes(self) -> dict[str, dict[str, int]]:
        """How many items wait in each set of lanes, and how many may, by its name."""
        parts = (self.conversations, self.inboxes, self.cursors, self.pages, self.sessions)
        return {
            lanes.name: {"depth": lanes.depth, "capacity": lanes.capacity} for lanes in (part.lanes for part in parts)
        }

    async def forget(self, users: Sequence[str], conversations: Sequence[str]) -> None:
        """Another node wrote to these in this one's place: they are read again. Raises Overloaded."""
        await self.behind.flush()
        await self.inboxes.forget(users)
        await self.conversations.forget(conversations)

    def ring_changed(self, moved: frozenset[int]) -> None:
        """Others may have written to these slots (owners/ring_change.py): what is in memory of them is dropped.

        It is dropped once more a little later, when the owner before has noticed too and has written what it held back.
        """
        if not moved:
            return
        self.conversations.memory.drop_slots(moved)
        self.inboxes.drop_slots(moved)
        if not self._moved.full():
            self._moved.put_nowait(moved)

    async def drop_again(self) -> None:
        """Drops what `ring_changed` has named once more, RING_SETTLES_S later. Runs until it is cancelled."""
        while True:
            moved = await self._moved.get()
            await asyncio.sleep(RING_SETTLES_S)
            while not self._moved.empty():
                moved |= self._moved.get_nowait()
            await self.behind.flush()
            self.conversations.memory.drop_slots(moved)
            self.inboxes.drop_slots(moved)


def _kept_ms(policy: RetentionPolicy) -> int:
    """Retention removes no inbox entry of a younger message. If it keeps everything now, a day: the policy may have
    been another one before.
    """
    return min(filter(None, (policy.inbox_days, policy.message_days)), default=1) * DAY_MS


@asynccontextmanager
async def open_storage(
    repository: Repository,
    peers: StoragePeers,
    clock: Clock,
    limits: Limits,
    *,
    policy: RetentionPolicy | None = None,
    sweep_interval_s: float = 30.0,
) -> AsyncIterator[Storage]:
    """A node that works until it is left. Raises Unavailable if the repository does not answer."""
    epoch = await repository.users.epoch(new_id())
    time = Timekeeper(clock, repository.time)
    await time.measure()
    behind = WriteBehind(repository, time)
    invalidation = OwnerInvalidation(peers, behind)
    policy = policy or RetentionPolicy()
    inboxes = InboxWriter(repository, peers, invalidation, time, limits, kept_ms=_kept_ms(policy))
    fanout = InboxFanout(inboxes, peers)
    conversations = ConversationStore(repository, inboxes, fanout, behind, peers, invalidation, time, limits)
    cursors = CursorWriter(repository, conversations, behind, limits)
    loads = ConversationLoads(repository, conversations)
    lists = ConversationLists(repository, conversations, loads, peers, time, limits)
    node = Storage(
        conversations=conversations,
        inboxes=inboxes,
        cursors=cursors,
        pages=PageReader(repository, conversations, inboxes, limits),
        loads=loads,
        lists=lists,
        sessions=SessionStore(repository, inboxes, lists, time, limits, epoch),
        acknowledgements=Acknowledgements(repository, inboxes, cursors, behind),
        behind=behind,
        invalidation=invalidation,
        retention=Retention(repository, conversations, behind, peers, time, policy),
        sweep=SessionSweep(repository, peers, time),
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(behind.flush)
        stack.push_async_callback(invalidation.flush)
        # Those that use others are entered after them, so that they end first.
        for part in (inboxes, conversations, node.cursors, node.pages, node.sessions):
            await stack.enter_async_context(part.running())
        scope = await stack.enter_async_context(TaskScope())
        scope.spawn(behind.run(limits.flush_interval_s), name="write behind")
        scope.spawn(node.drop_again(), name="ring settles")
        scope.spawn(invalidation.run(), name="invalidation")
        scope.spawn(time.run(), name="time")
        scope.spawn(node.retention.run(), name="retention")
        scope.spawn(node.sweep.run(sweep_interval_s), name="session sweep")
        yield node
