"""What a message costs an access node, hot: `python -m tests.benchmarks.access_sends [BATCH]`.

Frame in, lane, the call to logic, `sent`, then the parcel that Kafka brings and the push out; in direct chats, over TCP
streams that keep what is written. Logic is a twin: its call is encoded and its answer read, as gRPC would do it, but
nothing is sent. Told is the CPU time of a message, the best of several rounds, in µs, and what of it each half takes.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from protos.tidings.internal.v1 import delivery_pb2, logic_pb2
from services.access.connection.abuse_tracker import AbuseTracker
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.connection.traffic import Traffic
from services.access.connections import Connections
from services.access.delivery.delivery import Delivery
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.delivery.mail_router import MailRouter
from services.access.delivery.parcel_delivery import ParcelDelivery
from services.access.logic_client import LogicClient
from services.access.placement.placement import Placement
from services.access.requests.requests import RequestOptions, Requests
from services.access.session.limits import LimitPolicy
from services.access.session.session import SessionPolicy
from services.common.clock import SystemClock
from services.common.registry.contract import NodeIncarnation, NodeRecord
from services.common.ring import Ring
from tests.support.network.port import FakeNode
from tidings_protocol import client_pb2
from tidings_protocol.ids import direct, message_id
from tidings_protocol.wire.codec import PROTO
from tidings_protocol.wire.framing import framed

ROUNDS: Final = 60
ME: Final = NodeIncarnation("access-0", "boot")
WIDE: Final = SessionPolicy(limits=LimitPolicy(sends_per_s=1e6, frames_per_s=1e6, bytes_per_s=1e9))


class Stream:
    """A TCP transport that counts what is written."""

    name = "tcp"
    address = "192.0.2.7"
    waiting_bytes = 0
    traffic = Traffic("tcp")

    def __init__(self) -> None:
        self.writes = 0

    def wrap(self, frame: bytes) -> bytes:
        return framed(frame)

    def write(self, data: bytes) -> None:
        self.writes += 1

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


class LogicTwin:
    """A router with one logic node, which stores everything; `parcel` is what it would publish of the last call."""

    def __init__(self) -> None:
        self.node = NodeRecord("logic-0", "logic", "boot", "")
        self.parcel = b""
        self.seq = 0

    def owner(self, slot: int) -> NodeRecord:
        return self.node

    async def call(self, slot: int, method: str, request: Any, reply_type: Any, **_: Any) -> Any:
        encoded = request.SerializeToString()
        with self.elsewhere():
            answer = self._answer(type(request).FromString(encoded))
        await asyncio.sleep(0)
        return reply_type.FromString(answer)

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """What is done within is another node's work."""
        began = time.process_time()
        yield
        self.others_s += time.process_time() - began

    others_s = 0.0

    def _answer(self, asked: logic_pb2.SendColumns) -> bytes:
        count = len(asked.senders)
        first, self.seq = self.seq + 1, self.seq + count
        seqs = range(first, first + count)
        now_ms = time.time_ns() // 1_000_000
        peers = [client.split("|")[1] for client in asked.conversations]
        messages = delivery_pb2.MessageColumns(
            bodies=[
                client_pb2.Message(
                    message_id=message_id(conversation, seq),
                    conversation=conversation,
                    seq=seq,
                    sender=sender,
                    time_ms=now_ms,
                    client_id=client_id,
                    content=client_pb2.Content.FromString(content),
                ).SerializeToString()
                for conversation, seq, sender, client_id, content in zip(
                    asked.conversations, seqs, asked.senders, asked.client_ids, asked.contents, strict=True
                )
            ],
            user_counts=[2] * count,
            users=[user for pair in zip(asked.senders, peers, strict=True) for user in pair],
            numbers=[number for number in seqs for _ in range(2)],
            except_sessions=asked.sessions,
            accepted_ms=asked.accepted_ms,
        )
        self.parcel = delivery_pb2.Parcel(node=ME.node, boot_id=ME.boot_id, messages=messages).SerializeToString()
        return logic_pb2.SentColumns(seqs=seqs, times_ms=[now_ms] * count, numbers=seqs).SerializeToString()


class Quiet(Connections):
    """The set of connections, which says nothing of those that are opened."""

    def opened(self, connection: Connection) -> None: ...


class Node(FakeNode):
    """A node whose connections live in the real set of them."""

    connections: Any
    policy = WIDE

    def now(self) -> float:
        return time.monotonic()


class Bench:
    """One node with two connections for each message of a batch: one says it, the other one gets it."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.clock = SystemClock()
        self.logic = LogicTwin()
        self.hub: Hub[Connection] = Hub()
        self.node = Node()
        self.node.connections = Quiet(self.hub, AbuseTracker(WIDE.limits), self.clock)
        nobody = cast("Any", None)
        options = RequestOptions(
            content_bytes_max=65536,
            send_lanes=1,
            request_lanes=1,
            capacity=10_000,
            send_answer_s=10.0,
            send_batch_max=batch,
            request_batch_max=10,
        )
        client = LogicClient(cast("Any", self.logic), timeout_s=5.0, budget_s=5.0)
        self.requests = Requests(client, nobody, nobody, nobody, nobody, self.clock, options)
        self.node.requests = self.requests
        ring = Ring.build({ME.node: 1.0})
        record = NodeRecord(ME.node, "access", ME.boot_id, "")
        placement = Placement("any", me=lambda: ME, ring=lambda: ring, node=lambda _: record)
        router = MailRouter(ME, placement.owner_of, placement.owns_all, ForwardingTable())
        delivery = Delivery(
            self.hub, self.clock, on_sessions=lambda _: None, on_profiles=lambda *_: None, on_blocks=lambda _: None
        )
        self.parcels = ParcelDelivery(delivery, cast("Any", self), lambda: router)
        self.senders = [self._connect(f"user{number:05}a") for number in range(batch)]
        self.receivers = [self._connect(f"user{number:05}b") for number in range(batch)]

    def send(self, split: Any) -> None:
        """The forwarder: nothing is for other nodes."""

    def _connect(self, user: str) -> Connection:
        self.node.user, self.node.session_id = user, f"session-of-{user}"
        connection = Connection(self.node, cast("Any", Stream()), PROTO)
        hello = client_pb2.ClientFrame(id=1, hello=client_pb2.Hello(token="t", device="d"))
        connection.receive(hello.SerializeToString())
        self.hub.add(user, connection)
        return connection

    def frames(self, turn: int) -> list[bytes]:
        content = client_pb2.Content(text="x" * 100)
        chats = [direct(f"user{number:05}a", f"user{number:05}b") for number in range(self.batch)]
        return [
            client_pb2.ClientFrame(
                id=turn + 2,
                send=client_pb2.Send(
                    client_id=f"{turn:08}-{number:08}",
                    conversation=chat,
                    content=content,
                ),
            ).SerializeToString()
            for number, chat in enumerate(chats)
        ]

    async def round(self, turn: int) -> tuple[float, float, float]:
        """CPU seconds of the frames, of the call and the answers, and of the way out."""
        frames = self.frames(turn)
        writes = self.senders[-1].transport.writes  # type: ignore[attr-defined]
        self.logic.others_s = 0.0
        began = time.process_time()
        for connection, frame in zip(self.senders, frames, strict=True):
            connection.receive(frame)
        received_s = time.process_time() - began
        while self.senders[-1].transport.writes == writes:  # type: ignore[attr-defined] # noqa: ASYNC110
            await asyncio.sleep(0)
        sent_s = time.process_time() - began - received_s - self.logic.others_s
        began = time.process_time()
        await self.parcels.deliver_mail([self.logic.parcel])
        return received_s, sent_s, time.process_time() - began


async def main(batch: int) -> None:
    bench = Bench(batch)
    async with bench.requests:
        gc.freeze()
        rounds = [await bench.round(turn) for turn in range(ROUNDS)]
    assert all(connection.transport.writes == ROUNDS + 1 for connection in bench.receivers)  # type: ignore[attr-defined]
    frame_us, sent_us, pushed_us = (min(times) / batch * 1e6 for times in zip(*rounds, strict=True))
    sys.stdout.write(
        f"{batch} in a batch: frame in {frame_us:.1f} µs, sent {sent_us:.1f} µs, pushed {pushed_us:.1f} µs,"
        f" together {frame_us + sent_us + pushed_us:.1f} µs a message\n"
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
