"""Messages as columns against the same messages as pushes: every connection gets the same, in the same order."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple, cast

from hypothesis import given
from hypothesis import strategies as st

from protos.tidings.internal.v1 import delivery_pb2
from services.access.connection.connection import Connection
from services.access.connection.hub import Hub
from services.access.delivery.delivery import Delivery
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.delivery.mail_router import MailRouter, Split
from services.access.delivery.message_columns import pushes_of
from services.access.delivery.parcel_delivery import ParcelDelivery
from services.common.clock import ManualClock
from services.common.registry.contract import NodeIncarnation
from tests.unit.access.fakes import open_client
from tidings_protocol import client_pb2
from tidings_protocol.wire.codec import JSON

ME, OTHER = NodeIncarnation("access-0", "boot-a"), NodeIncarnation("access-1", "boot-b")
USERS = ("ann", "bob", "cid", "dan", "nobody")
BODIES = (
    *(client_pb2.Message(conversation="g:x", seq=seq, sender="ann").SerializeToString() for seq in range(1, 5)),
    b"\xff\xff",
)


class Message(NamedTuple):
    body: bytes
    users: list[str]
    number: int
    skipped: str


messages = st.lists(
    st.builds(
        Message,
        st.sampled_from(BODIES),
        st.lists(st.sampled_from(USERS), max_size=4, unique=True),
        st.integers(0, 9),
        st.sampled_from(["", "session of ann", "session of bob"]),
    ),
    max_size=8,
)
parcels = st.lists(st.tuples(messages, st.integers(0, 2), st.booleans(), st.booleans()), max_size=3)


class Node:
    """Users with connections, and what is forwarded: cid may visit another node, dan may have another owner."""

    def __init__(self, *, visits: bool, moved: bool) -> None:
        self.hub: Hub[Connection] = Hub()
        self.clients = [open_client("ann"), open_client("ann", codec=JSON), open_client("bob"), open_client("cid")]
        self.clients.append(open_client("dan", codec=JSON))
        for client in self.clients:
            self.hub.add(client.connection.user, client.connection)
        self.sent: list[object] = []
        table = ForwardingTable()
        if visits:
            table.add(OTHER, ["cid"])
        owners = {"dan": OTHER} if moved else {}
        router = MailRouter(ME, lambda user: owners.get(user, ME), lambda users: owners.keys().isdisjoint(users), table)
        delivery = Delivery(
            self.hub, ManualClock(), on_sessions=lambda _: None, on_profiles=lambda *_: None, on_blocks=lambda _: None
        )
        self.parcels = ParcelDelivery(delivery, cast("Any", self), lambda: router)

    def send(self, split: Split) -> None:
        self.sent.append((split.forwarded, split.rerouted, split.dropped))

    def got(self, found: list[delivery_pb2.Parcel]) -> list[list[bytes]]:
        """What each connection gets of these parcels."""
        asyncio.run(self.parcels.deliver_mail([parcel.SerializeToString() for parcel in found]))
        return [client.wire.frames for client in self.clients]


def as_columns(found: list[Message], hops: int, *, direct: bool, numbered: bool) -> delivery_pb2.Parcel:
    columns = delivery_pb2.MessageColumns(
        bodies=[each.body for each in found],
        user_counts=[len(each.users) for each in found],
        users=[user for each in found for user in each.users],
        numbers=[each.number for each in found for _ in each.users] if numbered else (),
        except_sessions=[each.skipped for each in found],
        accepted_ms=[5 for _ in found],
    )
    receipt = client_pb2.Receipt(conversation="g:x").SerializeToString()
    behind = delivery_pb2.Push(kind=delivery_pb2.Push.RECEIPT, body=receipt, users=["ann", "dan"])
    return delivery_pb2.Parcel(
        node="access-0", boot_id="boot-a", hops=hops, direct=direct, messages=columns, pushes=[behind]
    )


def as_pushes(parcel: delivery_pb2.Parcel) -> delivery_pb2.Parcel:
    found = delivery_pb2.Parcel()
    found.CopyFrom(parcel)
    del found.pushes[:]
    found.ClearField("messages")
    found.pushes.extend([*pushes_of(parcel.messages), *parcel.pushes])
    return found


@given(parcels, st.booleans(), st.booleans())
def test_columns_are_delivered_and_forwarded_as_the_same_messages_in_pushes_would_be(
    found: list[tuple[list[Message], int, bool, bool]], visits: bool, moved: bool
) -> None:
    columns = [as_columns(each, hops, direct=direct, numbered=numbered) for each, hops, direct, numbered in found]
    one, other = Node(visits=visits, moved=moved), Node(visits=visits, moved=moved)
    assert one.got(columns) == other.got([as_pushes(parcel) for parcel in columns])
    assert one.sent == other.sent
