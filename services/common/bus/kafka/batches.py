"""Records for Kafka, packed into a batch for each partition.

Guarantees: the records of a partition keep their order. A record that is larger than the bus takes is refused before
anything is handed over.

Does not know: whether a batch arrives.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import TopicPartition
from xxhash import xxh64_intdigest

from services.common.bus.contract import Header, Record
from tidings_protocol.errors import TooLarge, Unavailable

RECORD_BYTES_MAX = 8 * 1024 * 1024


async def batches_of(
    producer: AIOKafkaProducer, records: Sequence[Record], traced: list[Header]
) -> list[tuple[TopicPartition, BatchBuilder]]:
    """The records by their partitions, in their order: a future and a place in the queue for each partition's batch
    costs a tenth of one for each record (measured: 4 µs a record against 40). Raises TooLarge, Unavailable.
    """
    batches: list[tuple[TopicPartition, BatchBuilder]] = []
    filling: dict[tuple[str, int], BatchBuilder] = {}
    known: dict[str, Collection[int]] = {}
    for record in records:
        topic = record.topic
        if topic not in known:
            known[topic] = producer.client.cluster.partitions_for_topic(topic) or await producer.partitions_for(topic)
        partition = record.partition
        if partition is None:
            # Not Kafka's own murmur2: that is Python here, and takes 10 µs of a conversation's name.
            partition = xxh64_intdigest(record.value if record.key is None else record.key) % len(known[topic])
        elif partition not in known[topic]:
            known[topic] = await _looked_up(producer, topic, partition)
        if len(record.value) + len(record.key or b"") > RECORD_BYTES_MAX:
            raise too_large()
        builder = filling.get((topic, partition))
        if builder is None or not _added(builder, record, traced):
            builder = filling[topic, partition] = producer.create_batch()
            batches.append((TopicPartition(topic, partition), builder))
            _added(builder, record, traced)
    return batches


def _added(builder: BatchBuilder, record: Record, traced: list[Header]) -> bool:
    """False: the batch is full. The first record always fits."""
    headers = list(record.headers) or traced
    return builder.append(timestamp=None, key=record.key, value=record.value, headers=headers) is not None


async def _looked_up(producer: AIOKafkaProducer, topic: str, partition: int) -> Collection[int]:
    """The topic's partitions, among them this one; raises Unavailable."""
    await producer.client.force_metadata_update()
    found: Collection[int] = producer.client.cluster.partitions_for_topic(topic) or ()
    if partition not in found:
        raise Unavailable(f"the topic {topic} has no partition {partition}: ensure it first")
    return found


def too_large() -> TooLarge:
    return TooLarge(f"a record is larger than the {RECORD_BYTES_MAX} bytes that the bus takes: send less at once")
