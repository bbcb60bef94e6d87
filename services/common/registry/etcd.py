"""The registry on etcd.

    /tidings/<cluster>/nodes/<kind>/<name>      a node's record, under its lease
    /tidings/<cluster>/dead/<boot id>           its tombstone: this boot id does not come back
    /tidings/<cluster>/<claimed key>            a claim, under its holder's lease
    /tidings/<cluster>/<key of put_once>        a setting, for good

Theory of operation. A lease that ran out does not mean a dead node: etcd may have been stopped and gone on, or have
lost its data. So leaving is decided by a transaction. Whoever sees a record vanish puts a tombstone for its boot id, if
the record is still missing: at once if etcd answered all the time, after one lease time if it did not
(membership_view.py says when). A node that finds its lease gone puts its record back under a new lease, if its boot id
has no tombstone and its name is not taken. etcd lets only one of the two happen, and the other side learns which: nodes
that were thought dead become `lost`. So nobody leaves because etcd was away, however long that was.

A node that was suspended with its machine, or cut off, for so long that its tombstone may be gone comes back as another
boot.

Keep-alives are sent from the node's own event loop: one that is blocked for longer than its lease is not alive.

Guarantees: those of the contract; no threads; leaving takes about a second at most, also when etcd is away.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing

from services.common.backoff import Backoff
from services.common.gatherer import RETRY_S
from services.common.registry.contract import Membership, NodeRecord
from services.common.registry.etcd_client import EtcdClient
from services.common.registry.etcd_holding import Holding, record_of
from services.common.registry.etcd_tls import EtcdTls
from services.common.registry.etcd_tombstones import TOMBSTONE_S, EtcdKeys, TombstoneWriter
from services.common.registry.etcd_values import Compacted, Event, KeyValue, LeaseGone
from services.common.registry.feed import MembershipFeed
from services.common.registry.membership_view import MembershipView
from services.common.scope import Owned, TaskScope
from services.common.telemetry import logs, metrics
from tidings_protocol.errors import Unavailable

log = logs.get_logger(__name__)

RENEWALS = 3


def seconds_since_boot() -> float:
    """Like time.monotonic, which stands still while the machine is suspended; this goes on where the system can."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class EtcdRegistry(Owned):
    """One node's (or tool's) view of the registry. A tool just enters it and watches; nodes also register."""

    def __init__(
        self,
        endpoints: Sequence[str],
        cluster: str,
        *,
        lease_ttl_s: int = 5,
        tls: EtcdTls | None = None,
        since_boot_s: Callable[[], float] = seconds_since_boot,
    ) -> None:
        """`since_boot_s` goes on while the machine is suspended, as the leases and tombstones in etcd do."""
        self.lost = asyncio.Event()
        self.lost_because = ""
        # Short enough that an endpoint which hangs does not cost the lease.
        self._client = EtcdClient(endpoints, try_s=min(1.5, lease_ttl_s / 4), tls=tls)
        self._keys = EtcdKeys(cluster)
        self._view = MembershipView(lease_ttl_s)
        self._feed = MembershipFeed()
        self._tombstones = TombstoneWriter(
            self._client, self._keys, self._view, may_write=lambda: self._own.record is not None, changed=self._publish
        )
        self._connected = False
        self._answered_s = time.monotonic()
        self._own = Holding(
            self._client,
            self._keys,
            ttl_s=lease_ttl_s,
            since_boot_s=since_boot_s,
            leases_last=self._view.leases_last,
        )
        self._changing = asyncio.Lock()  # orders what changes that
        self._look_now = asyncio.Event()
        self._relist = True

    @property
    def connected(self) -> bool:
        return self._connected

    @property
    def lease(self) -> int:
        """etcd's id of this node's lease; 0: it has none."""
        return self._own.lease

    async def renew_certificate(self) -> None:
        """The files of its certificate have changed: common/certificates.py says so."""
        await self._client.renew_certificate()

    async def register(self, record: NodeRecord) -> None:
        async with self._changing:
            old = self._own.let_go()
            backoff = Backoff()
            while True:
                try:
                    await self._own.take_name(record)
                    self._answer(True)
                    break
                except (Unavailable, LeaseGone):
                    self._answer(False)
                await asyncio.sleep(backoff.next_s())
            self._own.record = record
            metrics.REGISTRY_LEASE_AGE.set_function(self._own.lease_age_s)
            self.lost_because = ""
            self.lost.clear()
            if old:
                await self._own.revoke(old)

    async def update(self, record: NodeRecord) -> None:
        async with self._changing:
            mine = self._own.record
            if mine is None or (mine.name, mine.kind, mine.boot_id) != (record.name, record.kind, record.boot_id):
                raise ValueError("update is for the registered node: same name, kind and boot id")
            self._own.record, self._own.dirty = record, True
            if not self.lost.is_set():
                await self._write_or_recover()

    async def deregister(self) -> None:
        async with self._changing:
            lease = self._own.let_go()
            metrics.REGISTRY_LEASE_AGE.set_function(float)
            self.lost.clear()
            if lease:
                await self._own.revoke(lease)

    async def claim(self, key: str, value: str) -> bool:
        async with self._changing:
            if self._own.record is None or self.lost.is_set():
                raise Unavailable("this node is not registered, so it cannot claim anything: register first")
            try:
                held = await self._own.take(key, value)
            except LeaseGone:
                await self._recover()
                held = await self._own.take(key, value)
            self._answer(True)
            if held:
                self._own.claims[key] = value
            return held

    async def put_once(self, key: str, value: str) -> str:
        path = self._keys.prefix + key
        await self._client.put_if([(path, 0)], path, value, 0)
        pair = await self._client.read(path)
        self._answer(True)
        if pair is None:
            raise Unavailable(f"{path} was removed while it was written: try again")
        return pair.value

    def watch(self) -> AsyncIterator[Membership]:
        return self._feed.watch()

    async def _running(self) -> AsyncIterator[None]:
        async with self._client:
            try:
                # The tasks end first, so that nothing else uses the lease while it is given up.
                async with TaskScope() as scope:
                    scope.spawn(self._follow(), name="registry watch")
                    scope.spawn(self._keep(), name="registry lease")
                    scope.spawn(self._tombstones.run(), name="registry tombstones")
                    yield
            finally:
                await self.deregister()

    # ---- the watch

    async def _follow(self) -> None:
        backoff = Backoff()
        while True:
            try:
                if self._relist:
                    await self._list()
                async with aclosing(self._client.watch(self._keys.nodes, self._view.revision + 1)) as changes:
                    async for events, revision in changes:
                        backoff.reset()
                        self._answer(True)
                        self._see(events, revision)
            except Compacted:
                self._relist = True
                continue
            except Unavailable:
                self._look_now.set()
            await asyncio.sleep(backoff.next_s())

    async def _list(self) -> None:
        pairs, revision = await self._client.find(self._keys.nodes)
        self._relist = False
        self._answer(True)
        records = [record for pair in pairs if (record := record_of(pair)) is not None]
        self._view.listed(records, revision, time.monotonic())
        for pair in pairs:
            self._notice_takeover(pair)
        self._publish()

    def _see(self, events: list[Event], revision: int) -> None:
        for event in events:
            if event.deleted:
                kind, _, name = event.pair.key.removeprefix(self._keys.nodes).partition("/")
                self._view.removed(kind, name, time.monotonic())
                if event.pair.key == self._own.key:
                    self._look_now.set()
            elif (record := record_of(event.pair)) is not None:
                self._view.put(record)
                self._notice_takeover(event.pair)
        self._view.revision = revision
        self._publish()

    def _notice_takeover(self, pair: KeyValue) -> None:
        mine = self._own.record
        if mine is None or pair.key != self._own.key or pair.revision <= self._own.put_revision:
            return
        record = record_of(pair)
        if record is not None and record.boot_id != mine.boot_id:
            self._lose("another process took the name")

    def _publish(self) -> None:
        self._feed.publish(self._view.membership())
        if self._view.next_due_s() is not None:
            self._tombstones.look()

    # ---- the lease

    async def _keep(self) -> None:
        """Renews the lease, or without one asks etcd whether it is there, three times in a lease time."""
        pause_s = self._own.ttl_s / RENEWALS
        while True:
            self._look_now.clear()
            try:
                async with asyncio.timeout(pause_s):
                    await self._look_now.wait()
            except TimeoutError:
                pass
            try:
                await self._look()
                pause_s = self._own.ttl_s / RENEWALS
            except Unavailable as error:
                self._answer(False, error.message)
                pause_s = min(RETRY_S, self._own.ttl_s / RENEWALS)

    async def _look(self) -> None:
        async with self._changing:
            if not self._own.lease or self._own.record is None or self.lost.is_set():
                await self._client.ping()
                self._answer(True)
                return
            try:
                await self._client.keep_alive(self._own.lease)
                self._own.kept()
                self._answer(True)
                if self._own.dirty:
                    await self._write_or_recover()
            except LeaseGone:
                self._answer(True)
                await self._recover()

    async def _write_or_recover(self) -> None:
        try:
            await self._own.write()
            self._answer(True)
        except LeaseGone:
            await self._recover()

    async def _recover(self) -> None:
        """The lease is gone: everything goes under a new one, unless others have taken over."""
        mine = self._own.record
        assert mine is not None
        if self._own.kept_for_s > TOMBSTONE_S / 2:
            self._lose("the lease ran out too long ago to know whether this boot id had a tombstone")
            return
        try:
            if not await self._own.come_back(mine):
                self._lose("the lease ran out, and this boot id has a tombstone or its name is taken")
                return
            for key, value in self._own.claims.items():
                if not await self._own.take(key, value):
                    self._lose(f"the lease ran out and {key} was claimed by another")
                    return
        except LeaseGone:
            raise Unavailable("etcd lost a lease that it had just granted: try again") from None
        log.info("registered again under the same boot id", node=mine.name, boot_id=mine.boot_id)

    def _lose(self, reason: str) -> None:
        if self.lost.is_set():
            return
        metrics.REGISTRY_LEASES_LOST.inc()
        log.warning("lease lost", reason=reason, node=self._own.record.name if self._own.record else "")
        self.lost_because = reason
        self.lost.set()

    # ---- whether etcd answers

    def _answer(self, answered: bool, why: str = "") -> None:
        """Notes whether etcd answers; the change is told once."""
        now_s = time.monotonic()
        if answered:
            if now_s - self._answered_s > self._own.ttl_s / 2:
                self._relist = True
            self._answered_s = now_s
            self._view.answered(now_s)
        if answered != self._connected:
            self._connected = answered
            metrics.REGISTRY_CONNECTED.set(int(answered))
            if answered:
                log.info("etcd answers")
            else:
                log.warning("etcd is away; membership stays as it was", reason=why)
