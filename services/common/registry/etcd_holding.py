"""What one node has in etcd under its lease: its record and its claims.

Guarantees: all that is written may be written twice. Nothing is taken from another: a name only by `take_name`, which
asks nobody; a record comes back only while its boot id has no tombstone and nobody has its name; a claim is taken only
where there is none, or where it is this node's own.

Does not know: when the lease is to be renewed, what becomes of a node that lost it (etcd.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable

from services.common.registry.contract import NodeRecord
from services.common.registry.etcd_client import EtcdClient
from services.common.registry.etcd_tombstones import EtcdKeys
from services.common.registry.etcd_values import KeyValue, LeaseGone
from services.common.telemetry import logs, metrics
from tidings_protocol.errors import Unavailable

log = logs.get_logger(__name__)

REVOKE_S = 1.0


class Holding:
    """Its fields are the registry's: `dirty`: the record is not written as it shall be; `put_revision`: of the record;
    `ttl_s`: for how long etcd keeps a lease, which may be longer than asked."""

    def __init__(
        self,
        client: EtcdClient,
        keys: EtcdKeys,
        *,
        ttl_s: int,
        since_boot_s: Callable[[], float],
        leases_last: Callable[[int], None],
    ) -> None:
        """`leases_last` is told if etcd keeps leases for another time than asked."""
        self._client = client
        self._keys = keys
        self._asked_ttl_s = ttl_s
        self._since_boot_s = since_boot_s
        self._leases_last = leases_last
        self._kept_s = 0.0
        self._kept_since_boot_s = 0.0
        self.ttl_s = ttl_s
        self.record: NodeRecord | None = None
        self.lease = 0
        self.put_revision = 0
        self.dirty = False
        self.claims: dict[str, str] = {}

    @property
    def key(self) -> str:
        """Where the record is; empty: nowhere."""
        return self._keys.node(self.record) if self.record is not None else ""

    @property
    def kept_for_s(self) -> float:
        """How long ago the lease was renewed, by a clock that goes on while the machine is suspended."""
        return self._since_boot_s() - self._kept_since_boot_s

    def lease_age_s(self) -> float:
        """Since the lease was renewed; 0: there is none."""
        return time.monotonic() - self._kept_s if self.lease else 0.0

    def let_go(self) -> int:
        """Nothing is held any more. The lease is to be revoked; 0: there was none."""
        lease, self.lease = self.lease, 0
        self.record, self.claims, self.dirty = None, {}, False
        return lease

    def kept(self) -> None:
        """The lease has its whole time from now on."""
        self._kept_s, self._kept_since_boot_s = time.monotonic(), self._since_boot_s()

    async def take_name(self, record: NodeRecord) -> None:
        """A new lease and the record under it, whoever had the name."""
        tombstone = self._keys.tombstone(record)
        lease = await self._grant()
        outcome = await self._client.put_if([(tombstone, 0)], self._keys.node(record), record.to_json(), lease)
        if not outcome.done:
            raise ValueError(f"the boot id {record.boot_id} has a tombstone: register with a new one")
        self.lease, self.put_revision = lease, outcome.revision
        self.kept()

    async def come_back(self, record: NodeRecord) -> bool:
        """A new lease and the record under it; False if this boot id has a tombstone or its name is taken."""
        key = self._keys.node(record)
        there = await self._client.read(key)
        if there is not None and not _is_of(there, record):
            return False
        lease = await self._grant()
        conditions = [(self._keys.tombstone(record), 0), (key, there.revision if there else 0)]
        outcome = await self._client.put_if(conditions, key, record.to_json(), lease)
        if not outcome.done:
            # If etcd did it but could not say so, the record is there, under this lease.
            there = await self._client.read(key)
            if there is None or there.lease != lease:
                await self.revoke(lease)
                return False
        self.lease, self.put_revision = lease, outcome.revision
        self.kept()
        self.dirty = False
        return True

    async def write(self) -> None:
        """The record as it shall be, under the lease that it has; LeaseGone if the name is not ours any more."""
        assert self.record is not None
        for _ in range(2):
            there = await self._client.read(self.key)
            if there is None or there.lease != self.lease:
                raise LeaseGone
            text = self.record.to_json()
            if there.value == text:
                break
            if (await self._client.put_if([(self.key, there.revision)], self.key, text, self.lease)).done:
                break
        self.dirty = False

    async def take(self, key: str, value: str) -> bool:
        """The claim under our lease; False if it is another's. LeaseGone if we have none."""
        path = self._keys.prefix + key
        if (await self._client.put_if([(path, 0)], path, value, self.lease)).done:
            return True
        there = await self._client.read(path)
        if there is None or there.value != value:
            return False
        # Ours, of this lease or (after etcd was away) of the one before.
        if there.lease == self.lease:
            return True
        return (await self._client.put_if([(path, there.revision)], path, value, self.lease)).done

    async def revoke(self, lease: int) -> None:
        """Ends a lease, and with it all that is under it; takes about a second at most."""
        try:
            await self._client.revoke(lease, REVOKE_S)
        except Unavailable:
            log.info("the lease was left to run out", ttl_s=self.ttl_s)

    async def _grant(self) -> int:
        """A lease for this node; how long it really lasts counts from now on."""
        lease = await self._client.grant(self._asked_ttl_s)
        if lease.ttl_s != self.ttl_s:
            log.warning("etcd keeps leases for another time than asked", asked_s=self._asked_ttl_s, ttl_s=lease.ttl_s)
            self.ttl_s = lease.ttl_s
            self._leases_last(lease.ttl_s)
        metrics.REGISTRY_LEASE_TTL.set(lease.ttl_s)
        return lease.id


def record_of(pair: KeyValue) -> NodeRecord | None:
    """The node's record that is there; None: it cannot be read."""
    try:
        return NodeRecord.from_json(pair.value)
    except ValueError:
        log.warning("unreadable node record ignored", key=pair.key)
        return None


def _is_of(pair: KeyValue, record: NodeRecord) -> bool:
    there = record_of(pair)
    return there is not None and there.boot_id == record.boot_id
