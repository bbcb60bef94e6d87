"""The parts of a storage node that answer, as rpc.py serves them, and what makes all of them forget.

Does not know: how the parts are put together (wiring.py), gRPC, etcd, MongoDB.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.storage.admission.admissions import Admissions
from services.storage.cursors.acknowledgements import Acknowledgements
from services.storage.cursors.writer import CursorWriter
from services.storage.events.heartbeat import Heartbeats
from services.storage.hiding.hides import Hides
from services.storage.inboxes.writer import InboxWriter
from services.storage.memory.write_behind import WriteBehind
from services.storage.messages.conversations import ConversationStore
from services.storage.owners.invalidation import OwnerInvalidation
from services.storage.pages.lists import ConversationLists
from services.storage.pages.loads import ConversationLoads
from services.storage.pages.reader import PageReader
from services.storage.pages.readers import ReadersReader
from services.storage.people.blocks import BlockStore
from services.storage.people.preferences import PreferenceStore
from services.storage.people.profiles import ProfileStore
from services.storage.reactions.reactors import ReactorPages
from services.storage.reactions.store import ReactionStore
from services.storage.sessions.known import KnownUsers
from services.storage.sessions.sessions import SessionStore
from services.storage.streams.keeper import StreamKeeper
from services.storage.streams.memory import OpenStreams
from services.storage.streams.parts import PartTaker
from services.storage.upkeep.dissolution import DissolutionSweep
from services.storage.upkeep.expiry import ExpirySweep
from services.storage.upkeep.retention import Retention
from services.storage.upkeep.session_sweep import SessionSweep

# How long after a change of the ring the owner before may still write to a slot.
RING_SETTLES_S = 3.0


@dataclass(slots=True, eq=False)
class Storage:
    """The parts of a node that answer. `open_storage` (wiring.py) makes one."""

    conversations: ConversationStore
    inboxes: InboxWriter
    cursors: CursorWriter
    pages: PageReader
    loads: ConversationLoads
    lists: ConversationLists
    hides: Hides
    sessions: SessionStore
    known: KnownUsers
    acknowledgements: Acknowledgements
    preferences: PreferenceStore
    blocks: BlockStore
    profiles: ProfileStore
    readers: ReadersReader
    behind: WriteBehind
    invalidation: OwnerInvalidation
    retention: Retention
    sweep: SessionSweep
    expiry: ExpirySweep
    streams: OpenStreams
    parts: PartTaker
    keeper: StreamKeeper
    reactions: ReactionStore
    reactors: ReactorPages
    admissions: Admissions
    dissolution: DissolutionSweep
    heartbeats: Heartbeats | None = None  # None: there are no events
    _moved: asyncio.Queue[frozenset[int]] = field(default_factory=lambda: asyncio.Queue(maxsize=1024))

    def lanes(self) -> dict[str, dict[str, int]]:
        """How many items wait in each set of lanes, and how many may, by its name."""
        parts = (
            self.conversations,
            self.inboxes,
            self.cursors,
            self.pages,
            self.sessions,
            self.parts,
            self.reactions,
            self.reactors,
            self.blocks,
        )
        return {
            lanes.name: {"depth": lanes.depth, "capacity": lanes.capacity} for lanes in (part.lanes for part in parts)
        }

    async def forget(self, users: Sequence[str], conversations: Sequence[str]) -> None:
        """Another node wrote to these in this one's place: they are read again. Raises Overloaded."""
        await self.behind.flush()
        self.known.forget(users)
        self.streams.doubt(conversations)
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
        self.known.drop_slots(moved)
        self.streams.doubt_slots(moved)
        self.reactions.ring_changed()
        if self.heartbeats is not None:
            self.heartbeats.ring_changed()
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
            self.known.drop_slots(moved)
            self.streams.doubt_slots(moved)
            self.reactions.ring_changed()
