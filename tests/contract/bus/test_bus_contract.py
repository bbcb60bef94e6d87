"""What every bus does: the twin and Kafka alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from services.common.bus.contract import Bus, ConsumedRecord, Record, Subscription, Topic
from tidings_protocol.errors import TooLarge, Unavailable

from .harness import Harness, ensure

LONG_S = 60.0


@pytest.fixture
async def bus(harness: Harness) -> AsyncIterator[Bus]:
    async with harness.new() as bus:
        yield bus


@pytest.fixture
async def topic(harness: Harness, bus: Bus) -> str:
    name = harness.topic()
    await ensure(bus, Topic(name, partitions=3))
    return name


async def read(subscription: Subscription, count: int) -> list[ConsumedRecord]:
    """At least so many records."""
    found: list[ConsumedRecord] = []
    async with asyncio.timeout(LONG_S):
        while len(found) < count:
            found += await anext(aiter(subscription))
    return found


async def publish_until_done(bus: Bus, records: Sequence[Record]) -> None:
    """As services do: repeat it while the bus is away."""
    async with asyncio.timeout(LONG_S):
        while True:
            try:
                return await bus.publish(records)
            except Unavailable:
                await asyncio.sleep(0)


def is_well(bus: Bus) -> tuple[bool, bool]:
    """Whether it says that it is connected, and that there is no trouble."""
    return bus.connected, not bus.trouble


def values(records: Sequence[ConsumedRecord]) -> list[bytes]:
    return [record.value for record in records]


async def test_a_published_record_is_read_with_all_its_parts(bus: Bus, topic: str) -> None:
    async with bus.consume(topic, [2]) as reader:
        await bus.publish([Record(topic, b"value", 2, b"key", (("traceparent", b"00-1"),))])
        (record,) = await read(reader, 1)
    assert (record.topic, record.partition, record.value, record.key) == (topic, 2, b"value", b"key")
    assert tuple(record.headers) == (("traceparent", b"00-1"),)


async def test_a_reader_gets_only_its_partitions_in_order(bus: Bus, topic: str) -> None:
    async with bus.consume(topic, [0, 1]) as reader:
        await bus.publish([Record(topic, b"%d" % n, n % 3) for n in range(30)])
        await bus.publish([Record(topic, b"%d" % n, n % 3) for n in range(30, 60)])
        found = await read(reader, 40)
    for partition in (0, 1):
        mine = [int(record.value) for record in found if record.partition == partition]
        assert mine == list(range(partition, 60, 3))
    assert {record.partition for record in found} == {0, 1}
    assert reader.lag == 0


async def test_reading_begins_at_the_end_at_the_time_of_entering(bus: Bus, topic: str) -> None:
    await bus.publish([Record(topic, b"before", 0)])
    async with bus.consume(topic, [0]) as reader:
        assert reader.positions == {0: 1}
        await bus.publish([Record(topic, b"after", 0)])
        assert values(await read(reader, 1)) == [b"after"]
        assert reader.positions == {0: 2}


async def test_reading_may_begin_at_the_start(bus: Bus, topic: str) -> None:
    await bus.publish([Record(topic, b"first", 0), Record(topic, b"second", 0)])
    async with bus.consume(topic, [0], from_end=False) as reader:
        assert values(await read(reader, 2)) == [b"first", b"second"]


async def test_two_readers_of_one_partition_both_get_everything(harness: Harness, bus: Bus, topic: str) -> None:
    async with harness.new() as other, bus.consume(topic, [0]) as one, other.consume(topic, [0]) as two:
        await bus.publish([Record(topic, b"x", 0)])
        assert values(await read(one, 1)) == values(await read(two, 1)) == [b"x"]


async def test_records_with_one_key_go_to_one_partition(bus: Bus, topic: str) -> None:
    async with bus.consume(topic, [0, 1, 2]) as reader:
        await bus.publish([Record(topic, b"%d" % n, key=b"g:1") for n in range(10)])
        await bus.publish([Record(topic, b"other", key=b"g:2")])
        found = await read(reader, 11)
    mine = [record for record in found if record.key == b"g:1"]
    assert len({record.partition for record in mine}) == 1
    assert [int(record.value) for record in mine] == list(range(10))


async def test_a_record_without_partition_and_key_arrives_too(bus: Bus, topic: str) -> None:
    async with bus.consume(topic, [0, 1, 2]) as reader:
        await bus.publish([Record(topic, b"x")])
        assert values(await read(reader, 1)) == [b"x"]


async def test_publishing_nothing_is_done_at_once(bus: Bus) -> None:
    await bus.publish([])


async def test_a_large_record_is_published_and_a_too_large_one_refused(bus: Bus, topic: str) -> None:
    async with bus.consume(topic, [0]) as reader:
        await bus.publish([Record(topic, bytes(3_000_000), 0)])
        assert len((await read(reader, 1))[0].value) == 3_000_000
        with pytest.raises(TooLarge):
            await bus.publish([Record(topic, bytes(20_000_000), 0)])
        await bus.publish([Record(topic, b"small", 0)])
        assert values(await read(reader, 1)) == [b"small"]


async def test_ensuring_a_topic_again_from_several_nodes_changes_nothing(harness: Harness, bus: Bus) -> None:
    name = harness.topic()
    async with harness.new() as other:
        specification = [Topic(name, partitions=2), Topic(f"{name}.b", partitions=1)]
        await asyncio.gather(*(each.ensure_topics(specification) for each in (bus, other, bus, other)))
        assert await other.partitions(name) == 2
        assert await bus.partitions(f"{name}.b") == 1


async def test_a_topic_that_shall_have_more_partitions_gets_them_and_never_fewer(harness: Harness, bus: Bus) -> None:
    name = harness.topic()
    await bus.ensure_topics([Topic(name, partitions=1)])
    await bus.ensure_topics([Topic(name, partitions=3)])
    assert await bus.partitions(name) == 3
    await bus.ensure_topics([Topic(name, partitions=2)])
    assert await bus.partitions(name) == 3
    async with bus.consume(name, [2]) as reader:
        await publish_until_done(bus, [Record(name, b"x", 2)])
        assert values(await read(reader, 1)) == [b"x"]


async def test_an_unknown_topic_has_no_partitions(harness: Harness, bus: Bus) -> None:
    assert await bus.partitions(harness.topic()) == 0


async def test_publishing_to_an_unknown_partition_is_unavailable(bus: Bus, topic: str) -> None:
    with pytest.raises(Unavailable):
        await bus.publish([Record(topic, b"x", 77)])


async def test_while_the_bus_is_away_publishing_fails_and_afterwards_all_goes_on(
    harness: Harness, bus: Bus, topic: str
) -> None:
    async with bus.consume(topic, [0]) as reader:
        await bus.publish([Record(topic, b"before", 0)])
        assert values(await read(reader, 1)) == [b"before"]
        async with harness.outage():
            with pytest.raises(Unavailable):
                await bus.publish([Record(topic, b"during", 0)])
        await publish_until_done(bus, [Record(topic, b"after", 0)])
        found: list[bytes] = []
        while b"after" not in found:
            found += values(await read(reader, 1))
        assert set(found) <= {b"during", b"after"}, "nothing is read again that was read before"
        assert bus.connected


async def test_what_was_published_while_a_reader_waited_is_read_after_an_outage(
    harness: Harness, bus: Bus, topic: str
) -> None:
    async with harness.new() as other, other.consume(topic, [0]) as reader:
        await bus.publish([Record(topic, b"0", 0)])
        assert values(await read(reader, 1)) == [b"0"]
        await bus.publish([Record(topic, b"1", 0)])
        async with harness.outage():
            pass
        await publish_until_done(bus, [Record(topic, b"2", 0)])
        found: list[bytes] = []
        while b"2" not in found:
            found += values(await read(reader, 1))
        assert found == sorted(set(found)) == [b"1", b"2"]


async def test_a_node_may_start_while_the_bus_is_away(harness: Harness, bus: Bus, topic: str) -> None:
    async with harness.new() as late:
        async with harness.outage():
            with pytest.raises(Unavailable):
                await late.ensure_topics([Topic(topic, partitions=3)])
            assert is_well(late) == (False, False)
            gaps: list[tuple[str, int]] = []
            reader = late.consume(topic, [0], on_gap=lambda name, number: gaps.append((name, number)))
            await reader.__aenter__()
            assert reader.positions == {}
        try:
            # It learns of the end when the bus is back: what comes later is read.
            async with asyncio.timeout(LONG_S), asyncio.TaskGroup() as group:
                reading = group.create_task(read(reader, 1))
                while not reading.done():
                    await publish_until_done(bus, [Record(topic, b"x", 0)])
                    await asyncio.sleep(0)
            assert set(values(reading.result())) == {b"x"}
            assert gaps == [(topic, 0)], "what was published between entering and this end is passed over"
            assert is_well(late) == (True, True)
        finally:
            await reader.__aexit__(None, None, None)


async def test_a_reader_that_is_cancelled_can_be_left_and_another_begin(bus: Bus, topic: str) -> None:
    async with bus.consume(topic, [0]) as reader:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await anext(aiter(reader))
    async with bus.consume(topic, [0]) as reader:
        await bus.publish([Record(topic, b"x", 0)])
        assert values(await read(reader, 1)) == [b"x"]


async def test_records_that_were_lost_before_they_were_read_are_passed_over_and_told(
    harness: Harness, bus: Bus, topic: str
) -> None:
    gaps: list[tuple[str, int]] = []
    async with bus.consume(
        topic, [0], from_end=False, on_gap=lambda name, number: gaps.append((name, number))
    ) as reader:
        await bus.publish([Record(topic, b"0", 0)])
        assert values(await read(reader, 1)) == [b"0"]
        async with harness.outage():
            pass
        await publish_until_done(bus, [Record(topic, b"lost", 0), Record(topic, b"lost", 0)])
        await harness.lose(topic, 0)
        await publish_until_done(bus, [Record(topic, b"1", 0)])
        found: list[bytes] = []
        while b"1" not in found:
            found += values(await read(reader, 1))
        # Kafka's reader reads ahead, so it may have had them before they were lost.
        assert gaps == [(topic, 0)] or b"lost" in found


async def test_a_bus_that_comes_back_with_nothing_has_its_topics_again_and_says_that_there_was_a_gap(
    harness: Harness, bus: Bus, topic: str
) -> None:
    gaps: set[tuple[str, int]] = set()
    async with bus.consume(topic, [0, 1], on_gap=lambda name, number: gaps.add((name, number))) as reader:
        await bus.publish([Record(topic, b"before", 0)])
        assert values(await read(reader, 1)) == [b"before"]
        await harness.wipe()
        async with asyncio.timeout(LONG_S), asyncio.TaskGroup() as group:
            reading = group.create_task(read(reader, 1))
            while not reading.done():
                await publish_until_done(bus, [Record(topic, b"after", 0)])
                await asyncio.sleep(0)
        assert set(values(reading.result())) == {b"after"}
    assert gaps == {(topic, 0), (topic, 1)}
    assert await bus.partitions(topic) == 3
