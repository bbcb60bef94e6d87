"""What Kafka's topics are made with."""

from __future__ import annotations

from services.common.bus.contract import Topic
from services.common.bus.kafka import admin as kafka_admin


def test_a_topic_is_made_so_that_our_nodes_can_read_it_and_the_broker_tells_the_time() -> None:
    made = kafka_admin._new(Topic("t", 3, 3))
    assert (made.name, made.num_partitions, made.replication_factor) == ("t", 3, 3)
    assert made.topic_configs["compression.type"] == "producer"
    assert made.topic_configs["message.timestamp.type"] == "LogAppendTime"
    assert made.topic_configs["min.insync.replicas"] == "2"
