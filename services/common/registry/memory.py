"""The registry's twin in memory, for simulation and fast tests. It fails on command and knows no time.

    store = MemoryStore()
    registry = MemoryRegistry(store)        one for each node
    store.away() / store.back()             nobody reaches the registry; leases wait, as in etcd
    registry.cut() / registry.heal()        just this node does not reach it
    store.expire("access-0")                the lease runs out, whether or not the node still runs
    registry.crash()                        leaving says nothing to the others; the lease stays until it expires

Guarantees: those of the contract. A node that is cut off does not lose its lease by itself: expire it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from services.common.registry.contract import Membership, NodeRecord
from services.common.registry.feed import MembershipFeed
from services.common.scope import Owned
from tidings_protocol.errors import Unavailable


class MemoryStore:
    """What etcd holds: nodes and claims under leases, and settings for good."""

    def __init__(self) -> None:
        self.revision = 0
        self.nodes: dict[str, tuple[NodeRecord, MemoryRegistry]] = {}
        self.claims: dict[str, tuple[str, MemoryRegistry]] = {}
        self.settings: dict[str, str] = {}
        self.is_away = False
        self._registries: list[MemoryRegistry] = []

    def away(self) -> None:
        """From now on nobody is answered."""
        self.is_away = True

    def back(self) -> None:
        """Everyone is answered again, and gets done what was asked for meanwhile."""
        self.is_away = False
        for registry in list(self._registries):
            registry.catch_up()

    def expire(self, name: str) -> None:
        """The lease of the node with this name runs out."""
        if name in self.nodes:
            self.forget(self.nodes[name][1])

    def attach(self, registry: MemoryRegistry) -> None:
        self._registries.append(registry)

    def detach(self, registry: MemoryRegistry) -> None:
        if registry in self._registries:
            self._registries.remove(registry)

    def forget(self, holder: MemoryRegistry) -> None:
        """All that stands under this holder's lease goes."""
        self.nodes = {name: entry for name, entry in self.nodes.items() if entry[1] is not holder}
        self.claims = {key: entry for key, entry in self.claims.items() if entry[1] is not holder}
        self.changed()

    def changed(self) -> None:
        """Tells everyone who can be told."""
        self.revision += 1
        for registry in list(self._registries):
            registry.catch_up()

    def membership(self) -> Membership:
        return Membership.of(self.revision, [record for record, _ in self.nodes.values()])


class MemoryRegistry(Owned):
    """One node's view of the store."""

    def __init__(self, store: MemoryStore) -> None:
        self.lost = asyncio.Event()
        self.lost_because = ""
        self._store = store
        self._feed = MembershipFeed()
        self._record: NodeRecord | None = None
        self._claims: dict[str, str] = {}
        self._reachable = asyncio.Event()
        self._cut = False
        self._crashed = False

    @property
    def connected(self) -> bool:
        return not self._store.is_away and not self._cut

    async def register(self, record: NodeRecord) -> None:
        while not self.connected:
            self._reachable.clear()
            await self._reachable.wait()
        if self._record is not None:
            self._store.forget(self)
        self._record, self._claims = record, {}
        self.lost.clear()
        self.lost_because = ""
        self._write(record)

    async def update(self, record: NodeRecord) -> None:
        mine = self._record
        if mine is None or (mine.name, mine.kind, mine.boot_id) != (record.name, record.kind, record.boot_id):
            raise ValueError("update is for the registered node: same name, kind and boot id")
        self._record = record
        self._check()
        if not self.lost.is_set():
            self._write(record)

    async def deregister(self) -> None:
        self._record, self._claims = None, {}
        self.lost.clear()
        if self.connected and not self._crashed:
            self._store.forget(self)

    async def claim(self, key: str, value: str) -> bool:
        self._check()
        if self._record is None or self.lost.is_set():
            raise Unavailable("this node is not registered, so it cannot claim anything: register first")
        held = self._store.claims.get(key)
        if held is not None and held != (value, self):
            return False
        self._store.claims[key] = (value, self)
        self._claims[key] = value
        return True

    async def put_once(self, key: str, value: str) -> str:
        self._check()
        return self._store.settings.setdefault(key, value)

    def watch(self) -> AsyncIterator[Membership]:
        return self._feed.watch()

    def cut(self) -> None:
        """This node reaches the registry no more."""
        self._cut = True

    def heal(self) -> None:
        """This node reaches the registry again."""
        self._cut = False
        self.catch_up()

    def crash(self) -> None:
        """The process dies: it says nothing more, and its lease stays until it expires."""
        self._crashed = self._cut = True
        self._store.detach(self)

    def catch_up(self) -> None:
        """What the watch and the keep-alive would find, if the registry can be reached."""
        if not self.connected:
            return
        self._reachable.set()
        record = self._record
        if record is not None and not self.lost.is_set():
            entry = self._store.nodes.get(record.name)
            if entry is None or entry[1] is not self:
                self.lost_because = "the lease ran out" if entry is None else "another process took the name"
                self.lost.set()
            elif entry[0] != record:
                self._write(record)
        self._feed.publish(self._store.membership())

    async def _running(self) -> AsyncIterator[None]:
        self._store.attach(self)
        self.catch_up()
        try:
            yield
        finally:
            await self.deregister()
            self._store.detach(self)

    def _write(self, record: NodeRecord) -> None:
        self._store.nodes[record.name] = (record, self)
        self._store.changed()

    def _check(self) -> None:
        if not self.connected:
            raise Unavailable("the registry (etcd) does not answer: try again")
