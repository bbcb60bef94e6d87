"""Storage nodes on a real etcd, Kafka and MongoDB: what one that is killed had stored is told by its neighbour."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from protos.tidings.internal.v1 import storage_pb2_grpc
from protos.tidings.v1 import events_pb2
from services.common.bus.kafka.bus import KafkaBus
from tests.support.cluster.backends import RealBackends, clean_environment, free_port_base
from tests.unit.storage.nodes import change, create, send
from tidings_protocol.ids import new_id

pytestmark = pytest.mark.integration

COME_S = 90.0
CALL_S = 5.0
PEERS = [f"bob{number}" for number in range(20)]


@asynccontextmanager
async def process(
    backends: RealBackends, name: str, prefix: str, port: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A storage node that serves at this port."""
    environment = clean_environment() | {
        "TIDINGS_NODE": name,
        "TIDINGS_CLUSTER": prefix,
        "TIDINGS_ETCD_ENDPOINTS": backends.etcd,
        "TIDINGS_KAFKA_BOOTSTRAP": backends.kafka,
        "TIDINGS_KAFKA_TOPIC_PREFIX": prefix,
        "TIDINGS_MONGODB_URI": backends.mongodb,
        "TIDINGS_MONGODB_DATABASE": prefix,
        "TIDINGS_RPC_LISTEN": f"127.0.0.1:{port}",
        "TIDINGS_OPS_LISTEN": f"127.0.0.1:{port + 1}",
        "TIDINGS_LEASE_TTL_S": "3",
    }
    node = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.storage", env={**os.environ, **environment}
    )
    try:
        yield node
    finally:
        if node.returncode is None:
            node.kill()
        await node.wait()


@asynccontextmanager
async def calls(port: int) -> AsyncIterator[storage_pb2_grpc.StorageAsyncStub]:
    """Calls to the node at this port, once it serves."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        async with asyncio.timeout(COME_S):
            await channel.channel_ready()
        yield storage_pb2_grpc.StorageStub(channel)


def to_all() -> pb.StoreBatch:
    return pb.StoreBatch(items=[send("ann", peer, f"to {peer}") for peer in PEERS])


async def until_told(backends: RealBackends, prefix: str, wanted: set[tuple[str, str]]) -> None:
    """Returns when events tell all of this: (conversation, client id or act)."""
    missing = set(wanted)
    async with KafkaBus([backends.kafka], "reader") as bus, asyncio.timeout(COME_S):
        topic = f"{prefix}.events"
        async with bus.consume(topic, range(await bus.partitions(topic)), from_end=False) as records:
            while missing:
                for record in await anext(records):
                    event = events_pb2.Event.FromString(record.value)
                    missing.discard((event.conversation, event.message.client_id or event.membership.act))


async def test_what_a_node_acknowledged_before_it_was_killed_is_told_though_its_conversations_are_quiet(
    real_backends: RealBackends,
) -> None:
    prefix, base = f"feed-{new_id()}"[:40], free_port_base()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        first = await enter(process(real_backends, "storage-0", prefix, base))
        await enter(process(real_backends, "storage-1", prefix, base + 10))
        await enter(calls(base + 10))
        storage = await enter(calls(base))
        await asyncio.sleep(4)  # more than one heartbeat
        join = change("g:1", "bob", "join", 1, joins=["bob"], keep_version=True)
        join.acts.append(events_pb2.Membership(act="join", by="bob").SerializeToString())
        for item in (create("g:1", "ann", large=True), join):
            made = await storage.Change(pb.ChangeBatch(items=[item]), timeout=CALL_S)
            assert made.outcomes[0].status == pb.ChangeOutcome.DONE
        answer = await storage.Store(to_all(), timeout=CALL_S)
        first.send_signal(signal.SIGKILL)
        assert {each.status for each in answer.outcomes} == {pb.StoreOutcome.STORED}
        wanted = {(f"d:ann|{peer}", f"to {peer}") for peer in PEERS} | {("g:1", "join")}
        await until_told(real_backends, prefix, wanted)


async def test_a_cluster_of_one_node_that_was_killed_tells_what_it_left_when_it_starts_again(
    real_backends: RealBackends,
) -> None:
    prefix, base = f"feed-{new_id()}"[:40], free_port_base()
    async with process(real_backends, "storage-0", prefix, base) as node, calls(base) as storage:
        await asyncio.sleep(4)
        answer = await storage.Store(to_all(), timeout=CALL_S)
        node.send_signal(signal.SIGKILL)
        assert {each.status for each in answer.outcomes} == {pb.StoreOutcome.STORED}
    async with process(real_backends, "storage-0", prefix, base):
        await until_told(real_backends, prefix, {(f"d:ann|{peer}", f"to {peer}") for peer in PEERS})
