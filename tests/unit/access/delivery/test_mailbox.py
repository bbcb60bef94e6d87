"""The mailbox of a node: what is read, in which order, and what happens while Kafka is not heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from protos.tidings.internal.v1 import delivery_pb2
from services.access.delivery import mailbox
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.delivery.mail_router import MailRouter, Split
from services.access.delivery.mailbox import Mailbox
from services.access.delivery.parcel_delivery import ParcelDelivery
from services.common.bus.contract import Record, Topic
from services.common.bus.memory import MemoryBroker, MemoryBus
from services.common.bus.topics import TopicNames
from services.common.registry.contract import NodeIncarnation
from tidings_protocol.errors import Overloaded

ME, OTHER = NodeIncarnation("access-0", "boot-a"), NodeIncarnation("access-1", "boot-b")


class Delivery:
    """Notes what is delivered; holds up on command."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def deliver(self, pushes: Iterable[delivery_pb2.Push]) -> None:
        await self.gate.wait()
        self.bodies += [push.body for push in pushes]


class Forwarder:
    """Notes what goes to other nodes."""

    def __init__(self) -> None:
        self.splits: list[Split] = []

    def send(self, batch: Split) -> None:
        self.splits.append(batch)


class Here:
    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.bus, self.producer = MemoryBus(self.broker), MemoryBus(self.broker)
        self.delivery, self.forwarder, self.table = Delivery(), Forwarder(), ForwardingTable()
        self.gaps = 0
        self.hearing: list[bool] = []
        self.mailbox = Mailbox(
            self.bus,
            TopicNames("t", broadcast_partitions=1),
            ParcelDelivery(
                cast("Any", self.delivery),
                cast("Any", self.forwarder),
                router=lambda: MailRouter(ME, lambda _: ME, lambda _: True, self.table),
            ),
            on_gap=self.note_gap,
            on_hearing=self.note_hearing,
        )

    def note_gap(self) -> None:
        self.gaps += 1

    async def note_hearing(self, deaf: bool) -> None:
        self.hearing.append(deaf)

    async def post(self, *values: bytes, topic: str = "t.deliver", partition: int = 0) -> None:
        await self.producer.publish([Record(topic, value, partition=partition) for value in values])

    async def delivered(self, *bodies: bytes) -> None:
        await eventually(lambda: len(self.delivery.bodies) >= len(bodies))
        assert self.delivery.bodies == list(bodies)


@asynccontextmanager
async def here() -> AsyncIterator[Here]:
    place = Here()
    await place.producer.ensure_topics([Topic("t.deliver", 2), Topic("t.broadcast", 1)])
    async with place.mailbox:
        yield place


async def eventually(so: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not so():  # noqa: ASYNC110 - plain values are looked at
            await asyncio.sleep(0)


def parcel(body: bytes, node: str = "access-0", users: Sequence[str] = ("ann",)) -> bytes:
    pushes = [delivery_pb2.Push(body=body, users=users)]
    return delivery_pb2.Parcel(node=node, boot_id="boot-a" if node else "", pushes=pushes).SerializeToString()


async def test_a_mailbox_is_read_from_its_end_on_and_in_order() -> None:
    async with here() as place:
        await place.post(parcel(b"before"))
        await place.mailbox.attach(0)
        await place.post(parcel(b"1"), parcel(b"2"))
        await place.post(parcel(b"3"))
        await place.delivered(b"1", b"2", b"3")
        assert place.mailbox.state["mailbox"] == 0


async def test_a_broadcast_is_delivered_and_never_forwarded() -> None:
    async with here() as place:
        await place.post(parcel(b"all", node=""), topic="t.broadcast")
        await place.delivered(b"all")
    assert place.forwarder.splits == []


async def test_what_a_visitor_gets_is_forwarded_and_what_cannot_be_read_is_dropped() -> None:
    async with here() as place:
        place.table.add(OTHER, ["ann"])
        await place.mailbox.attach(0)
        await place.post(b"\xff\xff", parcel(b"1"))
        await place.delivered(b"1")
    assert [list(split.forwarded) for split in place.forwarder.splits if split.local] == [[OTHER]]


async def test_another_partition_is_read_after_a_change_and_the_old_one_no_more() -> None:
    async with here() as place:
        await place.mailbox.attach(0)
        await place.mailbox.attach(1)
        await place.post(parcel(b"old"))
        await place.post(parcel(b"new"), partition=1)
        await place.delivered(b"new")


async def test_what_comes_by_call_is_worked_on_in_its_order_and_answered_when_it_is_written() -> None:
    async with here() as place:
        place.delivery.gate.clear()
        calls = [
            asyncio.ensure_future(place.mailbox.take([parcel(b"1"), parcel(b"2", node="")])),
            asyncio.ensure_future(place.mailbox.take([parcel(b"3")])),
        ]
        for _ in range(10):
            await asyncio.sleep(0)
        assert not any(call.done() for call in calls)
        place.delivery.gate.set()
        await asyncio.gather(*calls)
    assert place.delivery.bodies == [b"1", b"2", b"3"]


async def test_more_calls_than_may_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "CALLS_MAX", 1)
    async with here() as place:
        place.delivery.gate.clear()
        call = asyncio.ensure_future(place.mailbox.take([parcel(b"1")]))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await place.mailbox.take([parcel(b"2")])
        place.delivery.gate.set()
        await call
        await place.mailbox.take([parcel(b"3")])
    assert place.delivery.bodies == [b"1", b"3"]


async def test_where_records_were_lost_the_heads_are_compared() -> None:
    async with here() as place:
        await place.mailbox.attach(0)
        place.delivery.gate.clear()
        await place.post(parcel(b"1"))
        await eventually(lambda: place.forwarder.splits)
        await place.post(parcel(b"2"))
        place.broker.drop("t.deliver", 0)
        place.delivery.gate.set()
        await eventually(lambda: place.gaps)
        await place.post(parcel(b"3"))
        await place.delivered(b"1", b"3")


async def test_a_node_that_does_not_hear_kafka_says_so_once_compares_heads_and_says_when_it_hears_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mailbox, "LAG_S", 0.0)
    async with here() as place:
        await place.mailbox.attach(0)
        place.broker.away()
        monkeypatch.setattr(mailbox, "DEAF_S", -1.0)
        await eventually(lambda: place.hearing)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (place.hearing, place.gaps, place.mailbox.state["deaf"]) == ([True], 1, True)
        monkeypatch.setattr(mailbox, "DEAF_S", 1e9)
        place.broker.back()
        await eventually(lambda: len(place.hearing) == 2)
    assert (place.hearing, place.gaps) == ([True, False], 1)
