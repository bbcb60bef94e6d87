"""What a node has in etcd under its lease, on an etcd of a few lines."""

from __future__ import annotations

from typing import Any, cast

import pytest

from services.common.registry.contract import NodeRecord
from services.common.registry.etcd_client import EtcdClient
from services.common.registry.etcd_holding import Holding
from services.common.registry.etcd_tombstones import EtcdKeys
from services.common.registry.etcd_values import KeyValue, Lease, LeaseGone, Outcome

KEYS = EtcdKeys("tea")


class Etcd:
    """Keys under leases, and no network."""

    def __init__(self, ttl_s: int = 5) -> None:
        self.keys: dict[str, KeyValue] = {}
        self._ttl_s = ttl_s
        self._leases: set[int] = set()
        self._revision = 0

    async def grant(self, _ttl_s: int) -> Lease:
        self._revision += 1
        self._leases.add(self._revision)
        return Lease(self._revision, self._ttl_s)

    async def revoke(self, lease: int, _timeout_s: float) -> None:
        self._leases.discard(lease)
        self.keys = {key: pair for key, pair in self.keys.items() if pair.lease != lease}

    async def read(self, key: str) -> KeyValue | None:
        return self.keys.get(key)

    async def put_if(self, conditions: list[tuple[str, int]], key: str, value: str, lease: int) -> Outcome:
        if lease not in self._leases:
            raise LeaseGone
        done = all(
            self.keys[at].revision == revision if at in self.keys else not revision for at, revision in conditions
        )
        if done:
            self._revision += 1
            self.keys[key] = KeyValue(key, value, self._revision, lease)
        return Outcome(done, self._revision)

    async def lose(self, lease: int) -> None:
        await self.revoke(lease, 0.0)


def _record(name: str = "logic-0", boot_id: str = "b1", **more: Any) -> NodeRecord:
    return NodeRecord(name=name, kind="logic", boot_id=boot_id, rpc="127.0.0.1:1", **more)


def _holding(etcd: Etcd, told: list[int] | None = None) -> Holding:
    leases_last = told.append if told is not None else lambda _: None
    return Holding(cast("EtcdClient", etcd), KEYS, ttl_s=5, since_boot_s=lambda: 0.0, leases_last=leases_last)


async def _held(etcd: Etcd, record: NodeRecord) -> Holding:
    holding = _holding(etcd)
    await holding.take_name(record)
    holding.record = record
    return holding


async def test_a_name_is_taken_from_whoever_had_it_but_not_by_a_boot_with_a_tombstone() -> None:
    etcd = Etcd()
    await _held(etcd, _record(boot_id="b1"))
    newer = await _held(etcd, _record(boot_id="b2"))
    assert etcd.keys[newer.key].value == _record(boot_id="b2").to_json()
    etcd.keys[KEYS.tombstone(_record(boot_id="b3"))] = KeyValue("", "", 1, 0)
    with pytest.raises(ValueError, match="b3 has a tombstone: register with a new one"):
        await _holding(etcd).take_name(_record(boot_id="b3"))


async def test_a_node_whose_lease_ran_out_comes_back_unless_its_name_is_anothers() -> None:
    etcd = Etcd()
    holding = await _held(etcd, _record())
    await etcd.lose(holding.lease)
    with pytest.raises(LeaseGone):
        await holding.write()
    assert await holding.come_back(_record())
    assert etcd.keys[holding.key].lease == holding.lease
    await _held(etcd, _record(boot_id="b2"))
    assert not await holding.come_back(_record())


async def test_a_node_with_a_tombstone_does_not_come_back_and_keeps_no_lease() -> None:
    etcd = Etcd()
    holding = await _held(etcd, _record())
    await etcd.lose(holding.lease)
    etcd.keys[KEYS.tombstone(_record())] = KeyValue("", "", 1, 0)
    assert not await holding.come_back(_record())
    assert holding.key not in etcd.keys


async def test_a_claim_is_one_nodes_and_may_be_made_twice() -> None:
    etcd = Etcd()
    first, second = await _held(etcd, _record()), await _held(etcd, _record("logic-1", "b2"))
    assert await first.take("mailboxes/0", "logic-0")
    assert await first.take("mailboxes/0", "logic-0")
    assert not await second.take("mailboxes/0", "logic-1")
    await etcd.lose(first.lease)
    assert await second.take("mailboxes/0", "logic-1")
    with pytest.raises(LeaseGone):
        await first.take("mailboxes/1", "logic-0")


async def test_a_lease_that_lasts_longer_than_asked_is_told_once() -> None:
    told: list[int] = []
    holding = _holding(Etcd(ttl_s=9), told)
    await holding.take_name(_record())
    await holding.take_name(_record())
    assert (told, holding.ttl_s) == ([9], 9)


async def test_what_is_let_go_is_held_no_more() -> None:
    etcd = Etcd()
    holding = await _held(etcd, _record())
    lease = holding.let_go()
    assert (holding.record, holding.lease, holding.key, holding.lease_age_s()) == (None, 0, "", 0.0)
    await holding.revoke(lease)
    assert not etcd.keys
    assert holding.let_go() == 0
