"""The delivery of encoded parcels: those of a mailbox are routed, those of the broadcast stay here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from protos.tidings.internal.v1 import delivery_pb2
from services.access.delivery.forwarding_table import ForwardingTable
from services.access.delivery.mail_router import MailRouter, Split
from services.access.delivery.parcel_delivery import ParcelDelivery
from services.common.registry.contract import NodeIncarnation

ME, OTHER = NodeIncarnation("access-0", "boot-a"), NodeIncarnation("access-1", "boot-b")


class Here:
    """Connections and a forwarder that note what they get; ann is a visitor of the other node."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.forwarded: list[NodeIncarnation] = []
        table = ForwardingTable()
        table.add(OTHER, ["ann"])
        here = cast("Any", self)
        self.parcels = ParcelDelivery(here, here, lambda: MailRouter(ME, lambda _: ME, lambda _: True, table))

    async def deliver(self, pushes: Iterable[delivery_pb2.Push]) -> None:
        self.bodies += [push.body for push in pushes]

    def send(self, batch: Split) -> None:
        self.forwarded += batch.forwarded


def parcel(body: bytes, node: str = "access-0", users: Sequence[str] = ("ann",)) -> bytes:
    pushes = [delivery_pb2.Push(body=body, users=users)]
    return delivery_pb2.Parcel(node=node, boot_id="boot-a" if node else "", pushes=pushes).SerializeToString()


async def test_mail_goes_on_to_the_nodes_of_visitors_and_a_broadcast_does_not() -> None:
    here = Here()
    await here.parcels.deliver_broadcast([parcel(b"all", node="")])
    assert (here.bodies, here.forwarded) == ([b"all"], [])
    await here.parcels.deliver_mail([parcel(b"one")])
    assert (here.bodies, here.forwarded) == ([b"all", b"one"], [OTHER])


async def test_parcels_of_both_kinds_keep_their_order() -> None:
    here = Here()
    await here.parcels.deliver_mixed([parcel(b"1"), parcel(b"2", node=""), parcel(b"3")])
    assert (here.bodies, here.forwarded) == ([b"1", b"2", b"3"], [OTHER, OTHER])


async def test_a_parcel_that_cannot_be_read_keeps_no_other_one_back() -> None:
    here = Here()
    await here.parcels.deliver_mail([b"\xff\xff", parcel(b"1")])
    assert here.bodies == [b"1"]
