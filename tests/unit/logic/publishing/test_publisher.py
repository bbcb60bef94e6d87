"""Publishing: at once when it is quiet, together when it is not, later when Kafka is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from protos.tidings.internal.v1 import delivery_pb2
from protos.tidings.v1 import events_pb2
from services.common.bus.contract import ConsumedRecord
from services.common.registry.contract import Membership
from services.common.telemetry import metrics
from services.common.telemetry.health import Health
from services.logic.publishing.events import StreamEvent
from services.logic.publishing.parcels import OutgoingPush
from services.logic.publishing.records import Publication
from tests.unit.logic.harness import TOPICS, Logic, all_pushes, body, logic, message
from tidings_protocol import client_pb2

Push = delivery_pb2.Push


async def _next(node: Logic, topic: str, *, partitions: int = 1) -> list[ConsumedRecord]:
    """What is on the topic, as soon as there is something."""
    async with node.bus.consume(topic, range(partitions), from_end=False) as records:
        return await anext(aiter(records))


async def _texts(node: Logic, count: int) -> set[str]:
    """Of the messages that are pushed through Kafka, as soon as there are so many."""
    texts: set[str] = set()
    async with asyncio.timeout(5):
        while len(texts) < count:
            texts |= {body(push).content.text for push in node.pushes()}
            await asyncio.sleep(0)
    return texts


async def _tell(node: Logic, text: str) -> None:
    """A message, and an event of it, as one publication."""
    told = client_pb2.Message(conversation="d:amy|bob", content=client_pb2.Content(text=text))
    push = OutgoingPush(Push.MESSAGE, told.SerializeToString(), ["amy", "bob"], [1, 1], conversation="d:amy|bob")
    event = events_pb2.Event(conversation="d:amy|bob", message=told).SerializeToString()
    await node.publisher.publish(Publication([push], [StreamEvent("d:amy|bob", event)], messages=1))


async def test_publications_that_come_together_share_their_records() -> None:
    async with logic() as node:
        await asyncio.gather(*[node.send(message("amy", "d:amy|bob", str(number))) for number in range(50)])
        assert len(node.pushes()) == 100
        records = sum(len(partition.records) for partition in node.broker.topic(TOPICS.deliver))
        assert records < 30


async def test_when_kafka_is_away_the_answer_goes_out_and_the_node_says_that_it_is_degraded() -> None:
    health = Health()
    health.started()
    async with logic(health=health) as node:
        node.broker.away()
        [outcome] = await node.send(message("amy", "d:amy|bob", "hi"))
        assert outcome.seq == 1
        assert node.publisher.degraded
        assert "kafka" in health.degraded
        assert health.ready


async def test_what_was_told_meanwhile_arrives_when_kafka_is_back() -> None:
    health = Health()
    async with logic(health=health) as node:
        node.broker.away()
        for text in ("one", "two"):
            await _tell(node, text)
        node.broker.back()
        assert await _texts(node, 2) == {"one", "two"}
        assert [event.message.content.text for event in node.events()] == ["one", "two"]
        await node.send(message("amy", "d:amy|bob", "three"))
    assert {body(push).content.text for push in node.pushes()} == {"three"}
    assert health.degraded == {}


async def test_pushes_that_grew_old_are_left_out_events_are_not() -> None:
    async with logic() as node:
        node.broker.away()
        await _tell(node, "one")
        node.clock.advance(60)
        node.broker.back()
        await _next(node, TOPICS.events, partitions=2)
        assert node.pushes() == []
        assert len(node.events()) == 1


async def test_an_outcome_that_is_not_known_is_told_twice_rather_than_never() -> None:
    async with logic() as node:
        node.broker.swallow(1)
        await _tell(node, "one")
    assert len(node.events()) == 2


async def test_with_nothing_to_tell_an_empty_parcel_finds_out_that_kafka_is_back() -> None:
    async with logic(backlog_bytes_max=0) as node:
        node.broker.away()
        await node.send(message("amy", "d:amy|bob", "one"))
        assert node.publisher.backlog_bytes == 0
        node.broker.back()
        [probe] = await _next(node, TOPICS.broadcast)
        assert probe.value == b""
        assert delivery_pb2.Parcel.FromString(probe.value) == delivery_pb2.Parcel()


async def test_the_backlog_is_bounded() -> None:
    async with logic(backlog_bytes_max=5_000) as node:
        node.broker.away()
        for number in range(100):
            await node.send(message("amy", "d:amy|bob", "x" * 500, client_id=str(number)))
            assert node.publisher.backlog_bytes <= 5_000


async def test_leaving_tells_what_waits() -> None:
    async with logic() as node:
        node.publisher.offer(Publication([OutgoingPush(Push.SIGNAL, b"s", ["amy"])], [StreamEvent("d:amy|bob", b"")]))
    assert len(node.pushes(Push.SIGNAL)) == 1
    assert len(node.events()) == 1


async def test_a_lane_that_is_full_makes_nobody_wait() -> None:
    async with logic() as node:
        for number in range(1000):
            node.publisher.offer(Publication([OutgoingPush(Push.SIGNAL, str(number).encode(), ["amy"])]))
        await node.publisher.publish(Publication([OutgoingPush(Push.SIGNAL, b"last", ["amy"])]))
    assert len(node.pushes(Push.SIGNAL)) == 1001


async def test_recipients_without_an_owner_are_left_out() -> None:
    async with logic() as node:
        node.view.membership = type(node.view.membership).of(2, [])
        [outcome] = await node.send(message("amy", "d:amy|bob", "hi"))
        assert outcome.seq == 1
        assert node.parcels() == []


# ---- by call, while Kafka is away


def _called(node: Logic) -> list[tuple[str, str]]:
    """(node, text) of the messages that went by call."""
    return [
        (name, body(push).content.text)
        for name, parcel in node.peers.delivered
        for push in all_pushes(parcel)
        if push.kind == Push.MESSAGE
    ]


async def _eventually(so: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not so():  # noqa: ASYNC110 - plain values are looked at
            await asyncio.sleep(0)


async def test_while_kafka_is_away_messages_go_straight_to_their_owners_in_order_and_no_answer_waits_for_it() -> None:
    async with logic() as node:
        node.peers.delivers = {"access-0", "access-1"}
        node.peers.gate.clear()
        node.broker.away()
        for number in range(10):
            await _tell(node, str(number))
        assert _called(node) == []
        node.peers.gate.set()
        owners = {node.view.ring("access").owner_of(user) for user in ("amy", "bob")}
        await _eventually(lambda: len(_called(node)) >= 10 * len(owners))
        for owner in owners:
            texts = [text for name, text in _called(node) if name == owner]
            assert list(dict.fromkeys(texts)) == [str(number) for number in range(10)]
        node.broker.back()
        await _next(node, TOPICS.events, partitions=2)
        await _eventually(lambda: not node.publisher.degraded)
        assert node.pushes() == [], "what was taken does not come again"
        assert len(node.events()) == 10


async def test_what_a_node_does_not_take_comes_through_kafka_when_that_is_back() -> None:
    async with logic() as node:
        node.peers.delivers = set()
        node.broker.away()
        await node.send(message("amy", "d:amy|bob", "one"))
        await _eventually(lambda: not node.calls.under_way)
        node.broker.back()
        assert await _texts(node, 1) == {"one"}


async def test_what_everybody_must_hear_goes_to_all_access_nodes_and_is_kept_unless_all_take_it() -> None:
    for takers, again in (({"access-0", "access-1"}, 0), ({"access-0"}, 1)):
        async with logic() as node:
            node.peers.delivers = takers
            node.broker.away()
            await node.publisher.publish(Publication([OutgoingPush(Push.SESSIONS, b"")]))
            await _eventually(lambda: not node.calls.under_way)
            assert {name for name, _ in node.peers.delivered} == takers
            node.broker.back()
            await _eventually(lambda: not node.publisher.degraded)
            assert len(node.pushes(Push.SESSIONS)) == again


async def test_nothing_that_is_published_when_kafka_is_back_overtakes_what_is_still_on_its_way_by_call() -> None:
    async with logic() as node:
        node.peers.delivers = {"access-0", "access-1"}
        node.peers.gate.clear()
        node.broker.away()
        await node.send(message("amy", "d:amy|bob", "one"))
        node.broker.back()
        await _eventually(lambda: not node.publisher.degraded)
        later = asyncio.create_task(node.send(message("amy", "d:amy|bob", "two", client_id="2")))
        for _ in range(20):
            await asyncio.sleep(0)
        assert node.pushes() == []
        node.peers.gate.set()
        await later
        assert {text for _, text in _called(node)} == {"one"}
        assert {body(push).content.text for push in node.pushes()} == {"two"}


async def test_leaving_while_kafka_is_away_waits_for_what_is_on_its_way_by_call() -> None:
    async with logic() as node:
        node.peers.delivers = {"access-0", "access-1"}
        node.broker.away()
        await node.send(message("amy", "d:amy|bob", "one"))
    assert {text for _, text in _called(node)} == {"one"}


async def test_an_access_node_that_does_not_hear_kafka_is_called_as_well_and_holds_up_nobody() -> None:
    async with logic() as node:
        node.peers.delivers = {"access-0", "access-1"}
        node.peers.gate.clear()
        [ear, deaf] = node.view.membership.nodes
        node.view.membership = Membership.of(2, [ear, replace(deaf, deaf=True)])
        owner = node.view.ring("access").owner_of
        users = sorted({owner(f"u{number}"): f"u{number}" for number in range(50)}.items())
        for number in range(3):
            await node.publisher.publish(
                Publication([OutgoingPush(Push.SIGNAL, b"%d" % number, [user]) for _, user in users])
            )
        await node.publisher.publish(Publication([OutgoingPush(Push.SESSIONS, b"")]))
        assert len(node.pushes(Push.SIGNAL)) == 6, "Kafka has all, although the call is not answered"
        node.peers.gate.set()
        await _eventually(lambda: not node.calls.under_way)
        assert {name for name, _ in node.peers.delivered} == {deaf.name}
        bodies = [push.body for _, parcel in node.peers.delivered for push in parcel.pushes]
        assert bodies == [b"0", b"1", b"2", b""]


# ---- messages that come as columns


async def test_columns_go_by_call_while_kafka_is_away_and_nobody_waits() -> None:
    async with logic() as node:
        node.peers.delivers = {"access-0", "access-1"}
        node.peers.gate.clear()
        node.broker.away()
        late = metrics.BUS_LATE._value.get()
        for number in range(10):
            [outcome] = await node.send_rows(message("amy", "d:amy|bob", str(number)))
            assert outcome.seq == number + 1
        node.peers.gate.set()
        owners = {node.view.ring("access").owner_of(user) for user in ("amy", "bob")}
        await _eventually(lambda: len(_called(node)) == 10 * len(owners))
        for owner in owners:
            assert [text for name, text in _called(node) if name == owner] == [str(number) for number in range(10)]
        assert metrics.BUS_LATE._value.get() == late + 10
        node.broker.back()
        await _eventually(lambda: not node.publisher.degraded)
        assert node.pushes() == [], "what was taken does not come again"


async def test_columns_that_no_node_takes_come_through_kafka_when_that_is_back() -> None:
    async with logic() as node:
        node.broker.away()
        await node.send_rows(message("amy", "d:amy|bob", "one"), message("amy", "d:amy|bob", "two"))
        await _eventually(lambda: node.publisher.degraded and not node.calls.under_way)
        node.broker.back()
        assert await _texts(node, 2) == {"one", "two"}


async def test_columns_that_grew_old_are_left_out() -> None:
    async with logic() as node:
        node.broker.away()
        await node.send_rows(message("amy", "d:amy|bob", "one"))
        await _eventually(lambda: node.publisher.backlog_bytes)
        node.clock.advance(60)
        node.broker.back()
        await _eventually(lambda: not node.publisher.degraded)
        assert node.pushes() == []


async def test_columns_are_brought_to_a_node_that_does_not_hear_kafka() -> None:
    async with logic() as node:
        node.peers.delivers = {"access-0", "access-1"}
        node.view.membership = Membership.of(2, [replace(each, deaf=True) for each in node.view.membership.nodes])
        await node.send_rows(message("amy", "d:amy|bob", "one"))
        owners = {node.view.ring("access").owner_of(user) for user in ("amy", "bob")}
        await _eventually(lambda: len(_called(node)) == len(owners))
        assert {body(push).content.text for push in node.pushes()} == {"one"}


async def test_what_is_handed_over_is_told_when_the_node_leaves() -> None:
    async with logic() as node:
        await node.send_rows(message("amy", "d:amy|bob", "one"))
    assert {body(push).content.text for push in node.pushes()} == {"one"}
