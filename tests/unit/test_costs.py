"""What the hot pure paths cost for each message, in bytecode instructions: a slow-down shows, on any machine.

The bounds are what was counted on Python 3.11, and a quarter more. Who makes a path cheaper lowers its bound; who has a
good reason to make one dearer raises it, and says the reason in the commit.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protos.tidings.internal.v1 import delivery_pb2
from services.access.connection.hub import Hub
from services.access.session.delivery_state import DeliveryState
from services.common.lanes.queue import LaneQueue
from services.common.ring import Ring
from services.logic.groups.recipients import fanout_of
from services.logic.publishing.parcels import MailboxAddress, OutgoingPush, build_parcels
from services.storage.events.encoder import EventEncoder
from services.storage.events.port import FedRow
from services.storage.inboxes.numbering import CachedInbox
from services.storage.memory.conversation import CachedConversation
from services.storage.repository.mongo.documents import message_document
from services.storage.repository.records import ConversationDocument, StoredMessage
from tests.unit.instructions import each, instructions
from tidings_protocol import client_pb2 as pb
from tidings_protocol.ids import direct, kind_of, message_id, slot_of
from tidings_protocol.wire.body import EncodedBody
from tidings_protocol.wire.codec import JSON, PROTO, Codec
from tidings_protocol.wire.framing import FrameSplitter, framed
from tools.bench.accounts.ledger import Ledger
from tools.bench.users.frames import TCP, acks, sends
from tools.bench.users.scan import scanner

Make = Callable[[int], Callable[[], object]]


def _message(seq: int = 5) -> pb.Message:
    chat = direct("ann", "bob")
    return pb.Message(
        message_id=message_id(chat, seq),
        conversation=chat,
        seq=seq,
        sender="ann",
        time_ms=1_795_000_000_000,
        content=pb.Content(text="0" * 16 + "x" * 112),
        kind=pb.Message.NORMAL,
    )


def _delivering(codec: Codec) -> Make:
    body = EncodedBody.of(_message())
    return lambda count: lambda: codec.deliver([(number, body) for number in range(1, count + 1)])


def _answering(codec: Codec) -> Make:
    def answer() -> object:
        return codec.sent(
            7, client_id="c", message_id="m", conversation="d:a|b", seq=5, time_ms=6, duplicate=False, number=8
        )

    return lambda count: lambda: [answer() for _ in range(count)]


def _splitting(count: int) -> Callable[[], object]:
    chunk = framed(b"x" * 200) * count
    return lambda: FrameSplitter(1000).receive(chunk)


def _routing(recipients: int, nodes: int, users: int = 1000) -> Make:
    names = [f"access-{number}" for number in range(nodes)]
    owners = {f"u{number}": names[number % nodes] for number in range(users)}
    mailboxes = {name: MailboxAddress(name, "boot", number) for number, name in enumerate(names)}

    def make(count: int) -> Callable[[], object]:
        items = [
            OutgoingPush(
                kind=delivery_pb2.Push.MESSAGE,
                body=b"b" * 200,
                users=[f"u{(first + place) % users}" for place in range(recipients)],
                numbers=list(range(1, recipients + 1)),
            )
            for first in range(count)
        ]
        return lambda: build_parcels(items, owners.get, mailboxes, broadcast_partitions=4, parcel_bytes_max=1 << 20)

    return make


def _placing(head: int) -> Make:
    def make(count: int) -> Callable[[], object]:
        inbox = CachedInbox("ann", capacity=256)
        inbox.head = head

        def place() -> None:
            for number in range(count):
                inbox.push("d:ann|bob", head + number, head + number)

        return place

    return make


def _telling(count: int) -> Callable[[], object]:
    """The events of messages in a conversation whose recipients stay the same."""
    chat = direct("ann", "bob")
    conversation = CachedConversation(chat, kind_of(chat), ConversationDocument(chat, 1))
    rows = [
        FedRow(conversation, StoredMessage(chat, seq, "ann", "c" * 24, 1_795_000_000_000, b"x" * 140), ("ann", "bob"))
        for seq in range(1, count + 1)
    ]
    encoder = EventEncoder("tidings.events", "here")
    return lambda: encoder.records(rows)


def _documenting(count: int) -> Callable[[], object]:
    messages = [
        StoredMessage("d:ann|bob", seq, "ann", "c" * 24, 1_795_000_000_000, b"x" * 140) for seq in range(1, count + 1)
    ]
    return lambda: [message_document(message) for message in messages]


def _pushing(count: int) -> Callable[[], object]:
    outbox = DeliveryState()
    return lambda: [(outbox.push(number, 1.0), outbox.acknowledge(number, 1.0)) for number in range(1, count + 1)]


def _looking_up(users: int) -> Make:
    hub: Hub[int] = Hub()
    for number in range(users):
        hub.add(f"u{number}", number)
    return lambda count: lambda: [hub.connections_of(f"u{number}") for number in range(count)]


def _queueing(batch: int) -> Make:
    """Through a lane that users share; with batches smaller than what waits they are taken by turns."""

    def make(count: int) -> Callable[[], object]:
        def pass_through() -> None:
            queue: LaneQueue[str, None] = LaneQueue(10_000, 10_000, lambda item: item)
            for number in range(count):
                user = f"u{number % 20}"
                if queue.count_in(user):
                    queue.waiting.append((user, print, 0.0))
            while queue.waiting:
                queue.take(min(batch, len(queue.waiting)))

        return pass_through

    return make


def _owning(nodes: int) -> Make:
    ring = Ring.build({f"access-{number}": 1.0 for number in range(nodes)})
    return lambda count: lambda: [ring.owner_of(f"u{number}") for number in range(count)]


def _loading(count: int) -> Callable[[], object]:
    """What the load generator itself does for a message: send, read the answer and the delivery, keep the books."""
    scan = scanner(PROTO, "bench-a")
    make, ack, ledger = sends(TCP, "bench-a", 0, "d:ann|bob", 128), acks(TCP), Ledger()
    answer = PROTO.sent(
        7, client_id="bench-a-0000000005", message_id="0" * 24, conversation="d:ann|bob", seq=5, time_ms=6,
        duplicate=False, number=8,
    )  # fmt: skip
    delivery = PROTO.deliver([(3, EncodedBody.of(_message()))])

    def one(number: int) -> bytes:
        make(number)
        assert scan.sent(answer)
        assert scan.entries(delivery)
        ledger.acknowledge(number, number + 1)
        ledger.arrive(number, number + 1)
        return ack(number)

    return lambda: [one(number) for number in range(count)]


BOUNDS: dict[str, tuple[Make, int]] = {
    "delivery, protobuf": (_delivering(PROTO), 131),
    "delivery, JSON": (_delivering(JSON), 28),
    "answer, protobuf": (_answering(PROTO), 79),
    "answer, JSON": (_answering(JSON), 77),
    "frame of a TCP stream": (_splitting, 64),
    "fan-out of a direct message": (lambda count: lambda: [fanout_of("d:ann|bob", None) for _ in range(count)], 108),
    "routing to two users": (_routing(2, 2), 525),
    "inbox entry": (_placing(1000), 69),  # four of them note the time, by which late appends are looked for
    "event of a message": (_telling, 325),
    "document of a message": (_documenting, 90),
    "push and acknowledgement": (_pushing, 43),
    "connections of a user": (_looking_up(1000), 25),
    "item of a lane": (_queueing(10_000), 75),
    "item of a lane that is too full": (_queueing(100), 181),
    "owner of a user": (_owning(4), 38),
    "load generator": (_loading, 277),
}


@pytest.mark.parametrize("path", BOUNDS)
def test_a_message_costs_no_more_instructions_than_it_did(path: str) -> None:
    make, bound = BOUNDS[path]
    assert 0 < each(make) <= bound


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (_placing(10), _placing(5_000_000)),
        (_looking_up(200), _looking_up(10_000)),
        (_owning(4), _owning(200)),
        (_routing(2, 2, users=200), _routing(2, 2, users=10_000)),
        (_routing(2, 2), _routing(2, 64)),
    ],
    ids=["history", "users", "nodes of the ring", "users of the router", "nodes of the router"],
)
def test_a_message_costs_the_same_in_a_cluster_of_fifty_times_the_size(small: Make, large: Make) -> None:
    # So many that each node is met: what is made once for a node is no cost of a message.
    assert each(large, 400, 600) <= each(small, 400, 600) * 1.01


def test_a_recipient_costs_the_same_among_many() -> None:
    few, many = each(_routing(2, 2)) / 2, each(_routing(100, 2)) / 100
    assert many <= few


def test_the_same_call_is_always_the_same_number_of_instructions() -> None:
    assert instructions(_splitting(50)) == instructions(_splitting(50)) > 0


def test_a_slot_costs_the_same_for_every_name() -> None:
    assert instructions(lambda: slot_of("a")) == instructions(lambda: slot_of("a" * 64))
