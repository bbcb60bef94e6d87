"""What only a real etcd can show: outages of every kind, compaction, several endpoints, nothing left behind."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Self

import pytest

from services.common.registry.contract import Membership, NodeRecord
from services.common.registry.etcd import EtcdRegistry
from services.common.registry.etcd_client import EtcdClient
from services.common.registry.etcd_tombstones import TOMBSTONE_S
from services.common.registry.etcd_values import Compacted, Event, Lease
from services.common.telemetry import metrics
from tests.support.faults.standstill import go_on, stop
from tidings_protocol.errors import Unavailable

from .harness import LONG_S, TTL_S, EtcdHarness, EtcdProcess, Link, seen, until

pytestmark = pytest.mark.integration


@pytest.fixture
def harness(etcd: EtcdProcess) -> EtcdHarness:
    return EtcdHarness(etcd)


def node(name: str, boot: str = "1") -> NodeRecord:
    return NodeRecord(name, "access", f"{name}.{boot}", f"{name}:1", state="ready")


def boots(membership: Membership) -> list[str]:
    return [found.boot_id for found in membership.nodes]


@asynccontextmanager
async def registered(harness: EtcdHarness, *names: str) -> AsyncIterator[list[EtcdRegistry]]:
    """Nodes of these names, each with the mailbox of its place, and all seen by all."""
    async with AsyncExitStack() as stack:
        registries = []
        for n, name in enumerate(names):
            registry = await stack.enter_async_context(harness.at(harness.etcd.address))
            await registry.register(node(name))
            assert await registry.claim(f"mailboxes/{n}", name)
            registries.append(registry)
        for registry in registries:
            await seen(registry, lambda m: len(m.nodes) == len(names))
        yield registries


class Departures:
    """Whether anybody was ever seen to leave."""

    def __init__(self, registry: EtcdRegistry, names: set[str]) -> None:
        self._registry, self._names = registry, names
        self.left: set[str] = set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _watch(self) -> None:
        async for membership in self._registry.watch():
            self.left |= self._names - set(boots(membership))


async def assert_all_is_well(registries: list[EtcdRegistry], names: list[str]) -> None:
    """All answer again, under the boot ids and claims that they had."""
    expected = [f"{name}.1" for name in sorted(names)]
    await until(lambda: all(registry.connected for registry in registries))
    client = registries[0]._client
    for n, registry in enumerate(registries):
        # Their leases are held: a renewal finds them.
        async with asyncio.timeout(LONG_S):
            while True:
                entry = await client.read(registry._keys.prefix + f"mailboxes/{n}")
                if entry is not None and entry.lease == registry.lease:
                    break
                await asyncio.sleep(0.01)
        assert await registry.claim(f"mailboxes/{n}", names[n])
        assert boots(await seen(registry, lambda _: True)) == expected
        assert not registry.lost.is_set(), registry.lost_because


async def test_etcd_that_stands_still_for_longer_than_the_leases_makes_nobody_leave(harness: EtcdHarness) -> None:
    names = ["a", "b", "c"]
    async with (
        registered(harness, *names) as registries,
        Departures(registries[0], {"a.1", "b.1", "c.1"}) as seen_going,
    ):
        harness.etcd.pause()
        await asyncio.sleep(1.5 * TTL_S)
        async with asyncio.timeout(TTL_S):
            await until(lambda: not any(registry.connected for registry in registries))
        harness.etcd.go_on()
        await assert_all_is_well(registries, names)
        # Beyond the time in which the missing would have tombstones.
        await asyncio.sleep(TTL_S + 1.5)
        await assert_all_is_well(registries, names)
        assert seen_going.left == set()


async def test_etcd_that_was_away_for_longer_than_the_leases_makes_nobody_leave(harness: EtcdHarness) -> None:
    names = ["a", "b"]
    async with registered(harness, *names) as registries, Departures(registries[1], {"a.1", "b.1"}) as seen_going:
        async with harness.outage():
            await asyncio.sleep(2 * TTL_S)
        await assert_all_is_well(registries, names)
        await asyncio.sleep(TTL_S + 1.5)
        await assert_all_is_well(registries, names)
        assert seen_going.left == set()


async def test_etcd_that_lost_its_data_makes_nobody_leave(harness: EtcdHarness) -> None:
    names = ["a", "b"]
    async with registered(harness, *names) as registries, Departures(registries[1], {"a.1", "b.1"}) as seen_going:
        async with harness.outage():
            harness.etcd.wipe()
        await assert_all_is_well(registries, names)
        await asyncio.sleep(TTL_S + 1.5)
        await assert_all_is_well(registries, names)
        assert seen_going.left == set()


async def test_a_node_that_died_while_etcd_was_away_leaves_one_lease_time_after_its_return(
    harness: EtcdHarness,
) -> None:
    async with registered(harness, "a", "b") as (a, b):
        async with harness.outage():
            await _crash(b)
            await asyncio.sleep(1.5 * TTL_S)
            assert boots(await seen(a, lambda _: True)) == ["a.1", "b.1"]
        began = time.monotonic()
        await seen(a, lambda m: boots(m) == ["a.1"])
        assert time.monotonic() - began < 2 * TTL_S + 4
        assert not a.lost.is_set()


async def test_a_node_that_crashed_is_gone_when_its_lease_has_run_out(harness: EtcdHarness) -> None:
    async with registered(harness, "a", "b") as (a, b):
        await _crash(b)
        began = time.monotonic()
        await seen(a, lambda m: boots(m) == ["a.1"])
        assert time.monotonic() - began < TTL_S + 2


# A node in a process of its own, so that it can stand still. It rejoins when it is lost.
ELSEWHERE = """
import asyncio, sys
from services.common.registry.contract import NodeRecord
from services.common.registry.etcd import EtcdRegistry

async def live(address, cluster, ttl_s):
    async with EtcdRegistry([address], cluster, lease_ttl_s=int(ttl_s)) as registry:
        for boot in range(1, 100):
            await registry.register(NodeRecord("b", "access", f"b.{boot}", "b:1", state="ready"))
            print("registered", flush=True)
            await registry.lost.wait()

asyncio.run(live(*sys.argv[1:]))
"""


async def test_a_node_that_stood_still_for_longer_than_its_lease_leaves_and_rejoins(harness: EtcdHarness) -> None:
    arguments = [sys.executable, "-c", ELSEWHERE, harness.etcd.address, harness.cluster, str(TTL_S)]
    async with registered(harness, "a") as (a,):
        process = await asyncio.create_subprocess_exec(*arguments, stdout=PIPE)
        assert process.stdout is not None
        try:
            await seen(a, lambda m: boots(m) == ["a.1", "b.1"])
            # Others see it before it knows itself; who stands still in between has its tombstone before it is born.
            while await process.stdout.readline() != b"registered\n":
                assert not process.stdout.at_eof()
            stop(process.pid)
            await seen(a, lambda m: boots(m) == ["a.1"])
            go_on(process.pid)
            await seen(a, lambda m: boots(m) == ["a.1", "b.2"])
        finally:
            process.kill()
            await process.wait()


async def test_a_node_that_was_cut_off_is_lost_and_one_that_was_cut_off_briefly_is_not(harness: EtcdHarness) -> None:
    async with Link(harness.etcd.address) as link, harness.at(link.address) as b, registered(harness, "a") as (a,):
        await b.register(node("b"))
        await seen(a, lambda m: boots(m) == ["a.1", "b.1"])
        link.cut()
        await asyncio.sleep(TTL_S / 4)
        link.mend()
        await until(lambda: b.connected)
        assert boots(await seen(a, lambda _: True)) == ["a.1", "b.1"]

        link.cut()
        await seen(a, lambda m: boots(m) == ["a.1"])
        assert boots(await seen(b, lambda _: True)) == ["a.1", "b.1"], "its own view stands still"
        assert not b.lost.is_set(), "it cannot know yet"
        link.mend()
        async with asyncio.timeout(LONG_S):
            await b.lost.wait()
        assert not a.lost.is_set()
        await b.register(node("b", "2"))
        for registry in (a, b):
            await seen(registry, lambda m: boots(m) == ["a.1", "b.2"])


async def test_with_several_endpoints_the_next_one_is_used_when_one_is_away(harness: EtcdHarness) -> None:
    async with Link(harness.etcd.address) as one, Link(harness.etcd.address) as two, registered(harness, "a") as (a,):
        nothing = "127.0.0.1:1"
        async with harness.at(nothing, one.address, two.address) as b:
            await b.register(node("b"))
            await seen(a, lambda m: boots(m) == ["a.1", "b.1"])
            for used, left in ((one, two), (two, one)):
                used.cut()
                # Longer than the lease: it is renewed by another way.
                began = time.monotonic()
                while time.monotonic() - began < 1.5 * TTL_S:
                    assert boots(await seen(a, lambda _: True)) == ["a.1", "b.1"]
                    await asyncio.sleep(0.05)
                await a.update(node("a"))
                used.mend()
                assert left.address != used.address
            assert not b.lost.is_set()


async def test_a_watch_that_wants_compacted_history_lists_again(harness: EtcdHarness) -> None:
    async with AsyncExitStack() as stack:
        a, b = await stack.enter_async_context(registered(harness, "a", "b"))
        link = await stack.enter_async_context(Link(harness.etcd.address))
        watcher = await stack.enter_async_context(harness.at(link.address))
        await seen(watcher, lambda m: boots(m) == ["a.1", "b.1"])
        old = watcher._view.revision
        link.cut()
        await b.deregister()
        for mailbox in range(3):
            await a.update(NodeRecord("a", "access", "a.1", "a:1", state="ready", mailbox=mailbox))
        await _compact(harness)
        async with EtcdClient([harness.etcd.address]) as client:
            with pytest.raises(Compacted):
                async for _ in client.watch(f"/tidings/{harness.cluster}/nodes/", old):
                    pass
        link.mend()
        await seen(watcher, lambda m: boots(m) == ["a.1"] and m.nodes[0].mailbox == 2)


async def test_a_watch_goes_on_from_its_revision_when_the_stream_breaks(harness: EtcdHarness) -> None:
    async with registered(harness, "a") as (a,), harness.at(harness.etcd.address) as watcher:
        watch = watcher.watch()
        await anext(watch)
        for mailbox in range(5):
            watcher._client._fail_over()
            await a.update(NodeRecord("a", "access", "a.1", "a:1", state="ready", mailbox=mailbox))
            async with asyncio.timeout(LONG_S):
                assert (await anext(watch)).nodes[0].mailbox == mailbox


async def test_a_node_that_left_while_the_watch_broke_twice_is_gone(harness: EtcdHarness) -> None:
    """The second break comes after the first response, before etcd has sent what happened meanwhile."""
    async with registered(harness, "a", "b") as (a, b), harness.at(harness.etcd.address) as watcher:
        await seen(watcher, lambda m: boots(m) == ["a.1", "b.1"])
        real, gone, first = watcher._client.watch, asyncio.Event(), asyncio.Event()

        async def broken(prefix: str, since: int) -> AsyncGenerator[tuple[list[Event], int], None]:
            if not gone.is_set():
                await gone.wait()
                raise Unavailable("as asked")
            async with aclosing(real(prefix, since)) as changes:
                async for change in changes:
                    yield change
                    if not first.is_set():
                        first.set()
                        raise Unavailable("as asked, once more")

        watcher._client.watch = broken  # type: ignore[method-assign]  # breaks as asked
        watcher._client._fail_over()
        await asyncio.sleep(0.3)
        await b.deregister()
        await a.update(NodeRecord("a", "access", "a.1", "a:1", state="ready", mailbox=5))
        gone.set()
        await seen(watcher, lambda m: boots(m) == ["a.1"] and m.nodes[0].mailbox == 5)
        assert first.is_set()


async def test_a_lease_that_etcd_keeps_for_longer_than_asked_counts_as_it_is(harness: EtcdHarness) -> None:
    """etcd grants no less than one and a half of its election time-outs: one for a far network, 8 s for 5."""
    async with harness.at(harness.etcd.address) as registry:
        real = registry._client.grant

        async def grant(ttl_s: int) -> Lease:
            return await real(4 * ttl_s)

        registry._client.grant = grant  # type: ignore[method-assign]  # as an etcd with longer time-outs
        await registry.register(node("a"))
        assert metrics.REGISTRY_LEASE_TTL._value.get() == 4 * TTL_S
        assert (registry._own.ttl_s, registry._view._ttl_s) == (4 * TTL_S, 4 * TTL_S)
        renewed_s = registry._own._kept_s
        await until(lambda: registry._own._kept_s > renewed_s)


async def test_a_node_whose_machine_was_suspended_for_longer_than_tombstones_last_comes_back_as_another_boot(
    harness: EtcdHarness,
) -> None:
    since_boot_s = 1000.0
    registry = EtcdRegistry(
        [harness.etcd.address], harness.cluster, lease_ttl_s=TTL_S, since_boot_s=lambda: since_boot_s
    )
    async with registry, EtcdClient([harness.etcd.address]) as client:
        await registry.register(node("a"))
        async with registry._changing:
            await client.revoke(registry.lease)
            since_boot_s += TOMBSTONE_S
        async with asyncio.timeout(LONG_S):
            await registry.lost.wait()
        assert "too long ago" in registry.lost_because


async def test_a_record_that_nobody_understands_is_passed_over(harness: EtcdHarness) -> None:
    async with EtcdClient([harness.etcd.address]) as client, registered(harness, "a") as (a,):
        for n, text in enumerate(
            ("no json", "[]", '{"name": "x"}', '{"name":"x","kind":"odd","boot_id":"x","rpc":"x"}')
        ):
            key = f"/tidings/{harness.cluster}/nodes/access/odd-{n}"
            await client.put_if([(key, 0)], key, text, 0)
        await a.update(NodeRecord("a", "access", "a.1", "a:1", state="draining"))
        await seen(a, lambda m: m.nodes[0].state == "draining" and boots(m) == ["a.1"])


async def test_a_boot_id_with_a_tombstone_cannot_register(harness: EtcdHarness) -> None:
    async with registered(harness, "a", "b") as (a, b):
        await harness.expire(b)
        await until(b.lost.is_set)
        with pytest.raises(ValueError, match="register with a new one"):
            await b.register(node("b"))
        assert boots(await seen(a, lambda m: len(m.nodes) == 1)) == ["a.1"]


async def test_leaving_is_quick_when_etcd_is_away(harness: EtcdHarness) -> None:
    async with registered(harness, "a") as (a,), harness.outage():
        began = time.monotonic()
        await a.__aexit__(None, None, None)
        assert time.monotonic() - began < 2.5
        async with harness.at(harness.etcd.address):
            pass


async def test_nothing_is_left_behind(harness: EtcdHarness) -> None:
    async with registered(harness, "warm"):
        pass
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    for _ in range(3):
        async with registered(harness, "a", "b"):
            pass
    assert asyncio.all_tasks() == tasks
    assert set(threading.enumerate()) == threads


async def test_without_an_answer_every_call_says_where_it_looked() -> None:
    async with EtcdClient(["127.0.0.1:1", "127.0.0.1:2"]) as client:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1, 127\.0\.0\.1:2"):
            await client.ping()


def test_no_endpoint_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one endpoint"):
        EtcdRegistry([], "test")


async def _crash(registry: EtcdRegistry) -> None:
    """The process is gone: nothing is said, nothing is renewed."""
    registry._own.lease = 0
    await registry.__aexit__(None, None, None)


async def _compact(harness: EtcdHarness) -> None:
    from etcd3 import etcdrpc

    async with EtcdClient([harness.etcd.address]) as client:
        revision = await client.ping()
        await client._endpoints[0].kv.Compact(
            etcdrpc.CompactionRequest(revision=revision, physical=True), timeout=LONG_S
        )


@pytest.fixture(autouse=True)
def etcd_runs_again(etcd: EtcdProcess) -> Iterator[None]:
    """Whatever a failed test has left."""
    yield
    if etcd._process is None:
        etcd.start()
    etcd.go_on()
