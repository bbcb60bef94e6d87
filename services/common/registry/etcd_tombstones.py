"""Tombstones in etcd: a boot id that has one does not come back.

Guarantees: a node that is missing from etcd gets a tombstone once its time is up (membership_view.py says when), by one
transaction: either its record is still missing, or it keeps its place. Whoever reads the tombstone of another knows the
same. What etcd does not answer is tried again.

Does not know: who is missing, and what becomes of a node that finds its own tombstone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from services.common.gatherer import RETRY_S
from services.common.registry.contract import NodeRecord
from services.common.registry.etcd_client import EtcdClient
from services.common.registry.etcd_values import LeaseGone
from services.common.registry.membership_view import MembershipView
from tidings_protocol.errors import Unavailable

# For so long a tombstone lasts. A node that is cut off for longer must not come back under its boot id.
TOMBSTONE_S = 3600
REVOKE_S = 1.0
# Somebody is back, but the watch has not shown it yet.
PAUSE_FOR_WATCH_S = 0.1


class EtcdKeys:
    """Where things of one cluster are in etcd."""

    def __init__(self, cluster: str) -> None:
        self.prefix = f"/tidings/{cluster}/"
        self.nodes = f"{self.prefix}nodes/"

    def node(self, record: NodeRecord) -> str:
        """The key of a node's record."""
        return f"{self.nodes}{record.kind}/{record.name}"

    def tombstone(self, record: NodeRecord) -> str:
        """The key of a boot id's tombstone."""
        return f"{self.prefix}dead/{record.boot_id}"


class TombstoneWriter:
    """`run` it in a task; `look` when somebody may be missing."""

    def __init__(
        self,
        client: EtcdClient,
        keys: EtcdKeys,
        view: MembershipView,
        *,
        may_write: Callable[[], bool],
        changed: Callable[[], None],
    ) -> None:
        """`may_write`: whether this process is a node; a tool only believes that the missing are gone. `changed`: who
        counts as alive may be another now."""
        self._client = client
        self._keys = keys
        self._view = view
        self._may_write = may_write
        self._changed = changed
        self._missing = asyncio.Event()

    def look(self) -> None:
        """Somebody may be missing."""
        self._missing.set()

    async def run(self) -> None:
        """Puts the missing to rest as they become due; for ever."""
        while True:
            await self._missing.wait()
            self._missing.clear()
            due_s = self._view.next_due_s()
            if due_s is None:
                continue
            try:
                async with asyncio.timeout(max(0.0, due_s - time.monotonic())):
                    await self._missing.wait()
            except TimeoutError:
                pass
            try:
                for record in self._view.due(time.monotonic()):
                    if await self._is_tombstoned(record):
                        self._view.tombstoned(record)
            except Unavailable:
                await asyncio.sleep(RETRY_S)
            if self._view.due(time.monotonic()):
                await asyncio.sleep(PAUSE_FOR_WATCH_S)
            self._changed()

    async def _is_tombstoned(self, record: NodeRecord) -> bool:
        """Whether the missing node is out for good now: by a tombstone of ours or of another, or its name is taken."""
        key, tombstone = self._keys.node(record), self._keys.tombstone(record)
        there = await self._client.read(key)
        if there is not None:
            # Back, or replaced: the watch will show it.
            return False
        if not self._may_write() or await self._client.read(tombstone) is not None:
            return True
        lease = (await self._client.grant(TOMBSTONE_S)).id
        try:
            done = (await self._client.put_if([(key, 0), (tombstone, 0)], tombstone, record.name, lease)).done
        except LeaseGone:
            return False
        there = None if done else await self._client.read(tombstone)
        if not done and (there is None or there.lease != lease):
            with suppress(Unavailable):
                await self._client.revoke(lease, REVOKE_S)
        return done or there is not None
