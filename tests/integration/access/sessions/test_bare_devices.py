"""The conformance device on bare TCP, as the load holds it by the thousand, on a real access node."""

from __future__ import annotations

import asyncio
import random

from tests.support.cluster.access_nodes import AccessCluster, eventually
from tests.support.load.bare import BareDevice, Tally
from tidings_protocol.client_pb2 import Message, Sent
from tidings_protocol.ids import direct


def device_of(cluster: AccessCluster, user: str, shown: list[str], told: list[int]) -> BareDevice:
    def show(_: BareDevice, message: Message) -> None:
        shown.append(message.content.text)

    def hear(_device: BareDevice, _client_id: str, sent: Sent) -> None:
        told.append(sent.seq)

    return BareDevice(
        user=user,
        name="raw",
        token=cluster.token(user),
        addresses=[node.address.tcp for node in cluster.nodes.values()],
        rng=random.Random(1),
        dials=asyncio.Semaphore(10),
        tally=Tally(),
        show=show,
        told=hear,
    )


async def test_two_of_them_talk_in_order_and_go_on_where_another_node_takes_them_in(cluster: AccessCluster) -> None:
    await cluster.start("access-1")
    shown: list[str] = []
    told: list[int] = []
    ann, bob = device_of(cluster, "ann", [], told), device_of(cluster, "bob", shown, [])
    chat = direct("ann", "bob")
    async with asyncio.TaskGroup() as group:
        lives = [group.create_task(device.run()) for device in (ann, bob)]
        await eventually(lambda: ann.online and bob.online)
        for number in range(1, 11):
            ann.post(chat, f"client {number}", f"message {number}")
        await eventually(lambda: len(told) == 10 and len(shown) == 10)
        await cluster.nodes[bob.node].stop()
        await eventually(lambda: ann.online and bob.online and bob.welcomes == 2)
        for number in range(11, 21):
            ann.post(chat, f"client {number}", f"message {number}")
        await eventually(lambda: ann.settled and bob.settled and len(shown) == 20)
        head, entries = await bob.inbox()
        for life in lives:
            life.cancel()
    assert told == list(range(1, 21))
    assert shown == [f"message {number}" for number in range(1, 21)]
    assert (head, [number for number, _ in entries]) == (20, list(range(1, 21)))
    assert bob.tally.goodbyes.total() == 1
