"""Parcels for other access nodes: through Kafka, by call while it is away, and what must arrive arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from protos.tidings.internal.v1 import access_pb2, delivery_pb2
from services.access.delivery import forwarder
from services.access.delivery.forwarder import Forwarder
from services.access.delivery.mail_router import Split
from services.common.bus.contract import Topic
from services.common.bus.memory import MemoryBroker, MemoryBus
from services.common.parcel_calls import CALL_BYTES, Errand, ParcelCalls
from services.common.registry.contract import NodeIncarnation, NodeRecord
from tidings_protocol.errors import Unavailable

Push = delivery_pb2.Push
THERE = NodeRecord("access-1", "access", "boot-b", "access-1:1", state="ready", mailbox=1)
TARGET = NodeIncarnation("access-1", "boot-b")


class Peers:
    """The other node."""

    def __init__(self) -> None:
        self.takes = True
        self.there = THERE
        self.calls: list[list[delivery_pb2.Parcel]] = []

    async def call(self, method: str, request: Any, reply_type: Any, *, node: NodeRecord, timeout_s: float) -> Any:
        assert method.endswith("Access/Deliver")
        assert node is self.there
        if not self.takes:
            raise Unavailable("as asked")
        self.calls.append([delivery_pb2.Parcel.FromString(value) for value in request.parcels if any(value)])
        return access_pb2.DeliverOutcome()


class Place:
    """A node that forwards, and what becomes of it."""

    def __init__(self) -> None:
        self.broker, self.peers = MemoryBroker(), Peers()
        self.bus = MemoryBus(self.broker)
        self.there: NodeRecord | None = THERE
        self.calls = ParcelCalls(self.peers, lambda _: self.there)
        self.forwarder = Forwarder(self.bus, self.calls, topic="t.deliver", node=lambda _: self.there, probe_s=0.0)

    def by_call(self) -> list[bytes]:
        return [push.body for call in self.peers.calls for parcel in call for push in parcel.pushes]

    def by_kafka(self) -> list[bytes]:
        records = self.broker.topic("t.deliver")[1].records
        parcels = [delivery_pb2.Parcel.FromString(record.value) for record in records]
        return [push.body for parcel in parcels for push in parcel.pushes]

    def send(self, body: bytes, kind: Push.Kind.ValueType = Push.MESSAGE) -> None:
        pushes = [Push(kind=kind, body=body, users=["ann"])]
        parcel = delivery_pb2.Parcel(node="access-1", boot_id="boot-b", direct=True, pushes=pushes)
        self.forwarder.send(Split(forwarded={TARGET: [parcel]}))


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    made = Place()
    await made.bus.ensure_topics([Topic("t.deliver", 2)])
    async with made.calls, made.forwarder:
        yield made


async def eventually(so: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not so():  # noqa: ASYNC110 - plain values are looked at
            await asyncio.sleep(0)


async def test_while_kafka_is_there_nothing_goes_by_call() -> None:
    async with place() as here:
        here.send(b"1")
        await eventually(lambda: here.by_kafka() == [b"1"])
    assert here.by_call() == []


async def test_while_kafka_is_away_parcels_go_by_call_in_order_and_through_kafka_again_afterwards() -> None:
    async with place() as here:
        here.broker.away()
        for number in range(5):
            here.send(b"%d" % number)
            await asyncio.sleep(0)
        await eventually(lambda: here.by_call() == [b"0", b"1", b"2", b"3", b"4"])
        here.broker.back()
        await eventually(lambda: not here.forwarder._away.is_set())
        here.send(b"5")
        await eventually(lambda: here.by_kafka() == [b"5"])
    assert len(here.by_call()) == 5


@pytest.mark.parametrize("kind", [Push.MEMBERSHIP, Push.HIDDEN, Push.PREFERENCES])
@pytest.mark.parametrize("way", ["kafka", "call"])
async def test_what_must_arrive_is_kept_until_it_can_be_sent_either_way(way: str, kind: Push.Kind.ValueType) -> None:
    async with place() as here:
        here.broker.away()
        here.peers.takes = False
        here.send(b"message")
        here.send(b"lasting", kind)
        await eventually(lambda: len(here.forwarder._kept) == 1)
        if way == "kafka":
            here.broker.back()
        else:
            here.peers.takes = True
        arrived = here.by_kafka if way == "kafka" else here.by_call
        await eventually(lambda: arrived() == [b"lasting"])
        await eventually(lambda: len(here.forwarder._kept) == 0)
    assert here.forwarder._kept_bytes == 0


async def test_what_is_kept_for_a_boot_that_is_gone_is_dropped() -> None:
    async with place() as here:
        here.broker.away()
        here.peers.takes = False
        here.send(b"membership", Push.MEMBERSHIP)
        await eventually(lambda: len(here.forwarder._kept) == 1)
        here.there = None
        await eventually(lambda: len(here.forwarder._kept) == 0)
    assert here.forwarder._kept_bytes == 0


async def test_what_is_kept_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder, "LASTING_BYTES_MAX", 1000)
    async with place() as here:
        here.broker.away()
        here.peers.takes = False
        for number in range(10):
            here.send(b"%d" % number + bytes(300), Push.MEMBERSHIP)
        await eventually(lambda: not here.forwarder._lanes.depth and here.forwarder._kept)
        for _ in range(100):
            assert here.forwarder._kept_bytes <= 1000
            await asyncio.sleep(0)
        here.broker.back()
        await eventually(lambda: here.by_kafka() and not here.forwarder._kept)
    assert here.by_kafka()[-1][:1] == b"9"


async def test_a_node_that_does_not_hear_kafka_is_called_as_well() -> None:
    async with place() as here:
        here.there = here.peers.there = replace(THERE, deaf=True)
        here.send(b"1")
        await eventually(lambda: here.by_kafka() == [b"1"] and here.by_call() == [b"1"])


# ---- the calls themselves


async def test_a_call_is_bounded_in_bytes_and_keeps_the_order() -> None:
    here = Place()
    outcomes: list[bool] = []
    parcels = [
        delivery_pb2.Parcel(pushes=[Push(body=bytes([number]) + bytes(CALL_BYTES // 3))]).SerializeToString()
        for number in range(10)
    ]
    async with here.calls:
        for parcel in parcels:
            here.calls.offer(Errand("access-1", "boot-b", parcel), outcomes.append)
        await here.calls.quiet(5)
    assert outcomes == [True] * 10
    assert [body[0] for body in here.by_call()] == list(range(10))
    assert max(sum(parcel.ByteSize() for parcel in call) for call in here.peers.calls) <= CALL_BYTES


async def test_what_waits_is_bounded_in_bytes_and_whoever_is_gone_is_not_called() -> None:
    peers = Peers()
    outcomes: list[bool] = []
    calls = ParcelCalls(peers, lambda _: THERE, waiting_bytes_max=100)
    async with calls:
        calls.offer(Errand("access-1", "boot-b", bytes(60)), outcomes.append)
        calls.offer(Errand("access-1", "boot-b", bytes(60)), outcomes.append)
        assert outcomes == [False]
        await calls.quiet(5)
        calls.offer(Errand("access-1", "another boot", bytes(60)), outcomes.append)
        await calls.quiet(5)
    assert outcomes[1:] == [True, False]
    assert calls.under_way == 0
