"""The backends of the local stack are real: they answer, come back, and keep what they were given."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pymongo import MongoClient, WriteConcern

from tests.backends import RealBackends, clean_environment, free_port_base, stop_stack
from tools.cli.commands.stack import current
from tools.cli.failure import Failure
from tools.cli.stack.folder import Folder
from tools.cli.stack.keeping import launch, orphans
from tools.cli.stack.occupied import is_free
from tools.cli.stack.plan import Plan
from tools.cli.stack.programs.etcd import probe_etcd
from tools.cli.stack.programs.kafka import probe_kafka
from tools.cli.stack.programs.mongodb import probe_mongodb

pytestmark = pytest.mark.integration

TOPIC = "kept"


async def test_each_backend_answers_at_the_address_that_is_given_out(real_backends: RealBackends) -> None:
    await probe_etcd(real_backends.etcd)
    await probe_kafka(real_backends.kafka)
    await probe_mongodb(real_backends.mongodb)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder.at(tmp_path / "data")
    yield made
    stop_stack(made)
    orphans.end(orphans.find(made.path))


def up(folder: Folder) -> dict[str, Any]:
    return launch.run_detached(Plan(free_port_base(), 0, 0, 0), folder, clean_environment(), lambda _: None)


async def test_what_was_acknowledged_is_there_after_kill_9_of_everything_and_on_other_ports(folder: Folder) -> None:
    first = up(folder)
    await keep(first["endpoints"])
    for pid in (first["supervisor"]["pid"], *(backend["pid"] for backend in first["backends"])):
        os.kill(pid, signal.SIGKILL)
    second = up(folder)
    assert second["endpoints"] != first["endpoints"]
    assert await kept(second["endpoints"]) == ("in mongodb", b"in kafka")


async def test_each_backend_that_is_killed_comes_back_with_its_data(folder: Folder) -> None:
    started = up(folder)
    await keep(started["endpoints"])
    pids = {backend["name"]: backend["pid"] for backend in started["backends"]}
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 60
    while any(
        backend["state"] != "ready" or backend["pid"] == pids[backend["name"]]
        for backend in current(folder)["backends"]
    ):
        assert time.monotonic() < until, current(folder)
        await asyncio.sleep(0.1)
    assert await kept(started["endpoints"]) == ("in mongodb", b"in kafka")


def test_a_backend_that_cannot_start_is_told_with_its_log_and_the_others_are_stopped(folder: Folder) -> None:
    folder.take()
    folder.data_of("mongodb").mkdir()
    (folder.data_of("mongodb") / "storage.bson").write_bytes(b"not what mongod expects")
    with pytest.raises(Failure, match=r"mongodb ended with .*logs/mongodb\.log") as failed:
        up(folder)
    assert failed.value.message.count("\n") > 3
    assert not orphans.find(folder.path)
    assert current(folder) == {"running": False}


async def keep(endpoints: dict[str, str]) -> None:
    """One document and one record, both acknowledged."""
    with MongoClient[dict[str, Any]](endpoints["mongodb"]) as client:
        durable = client.tests.get_collection("kept", write_concern=WriteConcern("majority", j=True))
        durable.insert_one({"_id": 1, "text": "in mongodb"})
    admin = AIOKafkaAdminClient(bootstrap_servers=endpoints["kafka"])
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, 1, 1)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=endpoints["kafka"], acks="all") as producer:
        await producer.send_and_wait(TOPIC, b"in kafka")


async def kept(endpoints: dict[str, str]) -> tuple[str, bytes]:
    with MongoClient[dict[str, Any]](endpoints["mongodb"]) as client:
        document = client.tests.kept.find_one({"_id": 1})
    assert document is not None
    async with AIOKafkaConsumer(bootstrap_servers=endpoints["kafka"], auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(TOPIC, 0)])
        record = await consumer.getone()
    return document["text"], record.value


async def test_ctrl_c_in_the_foreground_stops_all_and_leaves_no_process(folder: Folder) -> None:
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("tidings"),
        *("backends", "up", "--foreground", "--json"),
        *("--data", folder.path, "--port-base", str(free_port_base())),
        env=clean_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    status = json.loads(await process.stdout.readline())
    assert status["supervisor"]["pid"] == process.pid
    assert [backend["state"] for backend in status["backends"]] == ["ready"] * 3
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert (process.returncode, out) == (0, b""), err
    assert not orphans.find(folder.path)
    assert all(is_free(int(backend["address"].rpartition(":")[2])) for backend in status["backends"])


async def test_ctrl_c_while_it_starts_stops_what_was_started(folder: Folder) -> None:
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("tidings"),
        *("backends", "up", "--foreground", "--data", folder.path, "--port-base", str(free_port_base())),
        env=clean_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await asyncio.to_thread(wait_for_a_process, folder)
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert (process.returncode, out) == (0, b""), err
    assert not orphans.find(folder.path)


def wait_for_a_process(folder: Folder) -> None:
    until = time.monotonic() + 30
    while not orphans.find(folder.path):
        assert time.monotonic() < until
        time.sleep(0.02)
