"""Clears away what is left of dissolved groups: their members' documents, bans, invites, requests.

A group is dissolved with its document: from then on nobody is a member, whatever the members' documents say. Those of a
group that was not large are written with it; of a large one they are too many, and are gone through here, in small
steps.

Guarantees: what was begun is gone on with by whichever node sweeps next. A user who was a member at the end is known
as one for good.
Does not know: who may dissolve, what members are told.
"""

from __future__ import annotations

import asyncio

from services.common.telemetry import logs
from services.storage.owners.peers import StoragePeers
from services.storage.repository.contract import Repository
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import slot_of

INTERVAL_S = 5.0
# Groups of one sweep, and members of one step.
GROUPS = 20
STEP = 500
# Between two steps: what clients ask for goes first.
PAUSE_S = 0.02

log = logs.get_logger(__name__)


class DissolutionSweep:
    def __init__(self, repository: Repository, peers: StoragePeers) -> None:
        self._dissolved = repository.groups.dissolved
        self._peers = peers

    async def run(self) -> None:
        """Sweeps every INTERVAL_S seconds, until it is cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            try:
                await self.sweep()
            except TidingsError as error:
                log.warning("dissolved groups are cleared away later", error=error.message)

    async def sweep(self) -> int:
        """Clears away what is there of this node's groups; how many they were. Raises Unavailable."""
        cleared = 0
        for conversation, stamp in await self._dissolved.some(GROUPS):
            if self._peers.owner_of(slot_of(conversation)) is not None:
                continue
            released = STEP
            while released == STEP:
                released = await self._dissolved.release(conversation, stamp, STEP)
                await asyncio.sleep(PAUSE_S)
            await self._dissolved.clear(conversation)
            cleared += 1
            log.info("dissolved group cleared away", conversation=conversation)
        return cleared
