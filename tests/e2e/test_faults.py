"""Nodes die while people talk: 200 messages a second flow, and nothing is lost, doubled or reordered.

Devices that never give up write histories; the simulation's checker, which knows nothing else, judges them.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from websockets.exceptions import WebSocketException

from tests.e2e.cluster import Cluster
from tests.support.device.device import Device, Dial, Hint, Pipe
from tests.support.device.pipes import WAYS, Address, Way, open_pipe
from tests.support.device.wire import Wire, connect
from tests.support.faults.standstill import go_on, stop
from tests.support.histories.checker import check
from tests.support.histories.history import History, Member
from tidings_protocol.client_pb2 import Content, GroupRequest, Send

pytestmark = pytest.mark.e2e
Name = Callable[[str], str]
RATE_PER_S = 200
FLOW_S = 5.0  # a node that was killed is back well before
SETTLE_S = 60.0


@dataclass(slots=True)
class Crowd:
    """People in direct chats and one group, on all three ways, who talk at a steady rate."""

    cluster: Cluster
    history: History
    devices: list[Device]
    conversations: list[tuple[str, list[str]]]
    rng: random.Random
    posted: int = 0

    async def talk(self, seconds: float, rate_per_s: int = RATE_PER_S) -> None:
        """Everyone's sends together come at this rate, whatever becomes of them."""
        loop = asyncio.get_running_loop()
        begun, posted = loop.time(), 0
        while (passed := loop.time() - begun) < seconds:
            while posted < passed * rate_per_s:
                posted += 1
                self._post_one()
            await asyncio.sleep(0.005)

    def _post_one(self) -> None:
        conversation, people = self.rng.choice(self.conversations)
        speaker = self.rng.choice(people)
        device = self.rng.choice([device for device in self.devices if device.user == speaker])
        self.posted += 1
        device.post(conversation, f"message {self.posted}")

    async def settle_and_check(self) -> None:
        async with asyncio.timeout(SETTLE_S), asyncio.TaskGroup() as group:
            for device in self.devices:
                group.create_task(device.settle())
        async with asyncio.timeout(SETTLE_S):
            for conversation, people in self.conversations:
                for reader in people[:2]:
                    await next(device for device in self.devices if device.user == reader).read(conversation)
                for person in people:
                    devices = tuple(device.name for device in self.devices if device.user == person)
                    self.history.add(Member(conversation, person, devices))
            for device in self.devices:
                await device.read_inbox()
        assert check(self.history)[:20] == []
        assert sum(device.acknowledged for device in self.devices) >= self.posted


@asynccontextmanager
async def crowd(cluster: Cluster, name: Name, people: int = 12) -> AsyncIterator[Crowd]:
    rng = random.Random(7)
    users = [name(f"p{number}") for number in range(people)]
    history = History()
    devices = [
        device_of(cluster, user, device, WAYS[(number + offset) % 3], history, rng)
        for number, user in enumerate(users)
        for offset, device in enumerate(("phone", "web") if number % 3 == 0 else ("phone",))
    ]
    async with cluster.session(users[0], device="founder") as (wire, _):
        create = GroupRequest.Create(name="all of us", members=users[1:])
        group = (await wire.request(group=GroupRequest(create=create))).group_info.conversation
    chats: list[tuple[str, list[str]]] = []
    for first, second in zip(users, users[1:] + users[:1], strict=True):
        low, high = sorted((first, second), key=str.encode)
        chats.append((f"d:{low}|{high}", [low, high]))
    async with asyncio.TaskGroup() as running:
        tasks = [running.create_task(device.run(), name=f"{device.user}/{device.name}") for device in devices]
        yield Crowd(cluster, history, devices, [*chats, *[(group, users)] * 2], rng)
        for task in tasks:
            task.cancel()


def device_of(cluster: Cluster, user: str, name: str, way: Way, history: History, rng: random.Random) -> Device:
    return Device(
        user=user,
        name=name,
        token=lambda: cluster.token(user),
        dial=dialling(cluster.access(), way, random.Random(rng.random())),
        history=history,
        rng=random.Random(rng.random()),
    )


def dialling(nodes: dict[str, Address], way: Way, rng: random.Random) -> Dial:
    """Goes where the goodbye said, else to any of the nodes that were there at the start."""

    async def dial(hint: Hint) -> Pipe:
        chosen = rng.choice(list(nodes.values()))
        if hint.address:
            chosen = Address(ws=hint.address, tcp=hint.address)
        try:
            async with asyncio.timeout(3):
                return await open_pipe(chosen, way)
        except WebSocketException as error:  # a node that leaves takes nobody in any more
            raise ConnectionRefusedError(str(error)) from None

    return dial


async def ready(cluster: Cluster, count: int) -> None:
    """Waits until so many nodes are ready."""

    def ready_now() -> int:
        status = cluster.status()
        return sum(node["state"] == "ready" for kind in ("access", "logic", "storage") for node in status[kind])

    async with asyncio.timeout(60):
        while await asyncio.to_thread(ready_now) < count:  # noqa: ASYNC110 - other processes come up
            await asyncio.sleep(0.5)


async def test_messages_flow_while_one_node_of_each_kind_is_killed(cluster_to_break: Cluster, name: Name) -> None:
    async with crowd(cluster_to_break, name) as people, asyncio.TaskGroup() as group:
        await people.talk(2)
        talking = group.create_task(people.talk(3 * FLOW_S))
        for victim in ("access-0", "logic-0", "storage-0"):
            os.kill(await asyncio.to_thread(cluster_to_break.pid, victim), signal.SIGKILL)
            await asyncio.sleep(FLOW_S)
        await talking
        await people.settle_and_check()
    await ready(cluster_to_break, 6)


async def test_messages_flow_while_the_cluster_grows_and_shrinks(cluster_to_break: Cluster, name: Name) -> None:
    await ready(cluster_to_break, 6)
    async with crowd(cluster_to_break, name) as people, asyncio.TaskGroup() as group:
        await people.talk(2)
        growing = group.create_task(asyncio.to_thread(cluster_to_break.tidings, "scale", "access=3"))
        while not growing.done():
            await people.talk(1)
        cluster_to_break.changed()
        assert set(cluster_to_break.access()) == {"access-0", "access-1", "access-2"}
        await people.talk(3)
        shrinking = group.create_task(asyncio.to_thread(cluster_to_break.tidings, "scale", "access=2", "logic=1"))
        while not shrinking.done():
            await people.talk(1)
        cluster_to_break.changed()
        await people.settle_and_check()
    status = cluster_to_break.status()
    assert [node["name"] for node in status["access"]] == ["access-0", "access-1"]
    assert [node["name"] for node in status["logic"]] == ["logic-0"]


async def test_messages_flow_while_a_node_is_drained_and_others_are_restarted(
    cluster_to_break: Cluster, name: Name
) -> None:
    await ready(cluster_to_break, 5)
    async with crowd(cluster_to_break, name) as people, asyncio.TaskGroup() as group:
        await people.talk(2, rate_per_s=100)
        working = group.create_task(asyncio.to_thread(drain_and_restart, cluster_to_break))
        while not working.done():
            await people.talk(1, rate_per_s=100)
        await people.settle_and_check()
        assert {4000, 4001} & {code for device in people.devices for code in device.goodbyes}
    cluster_to_break.changed()
    assert set(cluster_to_break.access()) == {"access-0", "access-1"}


def drain_and_restart(cluster: Cluster) -> None:
    cluster.tidings("drain", "access-1", "--pace", "50")
    states = {node["name"]: (node["state"], node["pid"]) for node in cluster.status()["access"]}
    assert states["access-1"] == ("down", None)
    for what in ("access", "logic-0", "storage-0"):
        cluster.tidings("restart", what)


@pytest.mark.parametrize("how", ["stands still", "is killed"])
async def test_while_kafka_is_away_messages_are_pushed_within_a_second_and_a_half_and_none_is_shown_twice(
    cluster_to_break: Cluster, name: Name, how: str
) -> None:
    """Between users of two nodes, to a device at home and to one that visits; no heartbeat brings them."""
    await ready(cluster_to_break, 5)
    ann, bob = await at_different_nodes(cluster_to_break, name)
    pid = await asyncio.to_thread(cluster_to_break.pid, "kafka")
    async with (
        cluster_to_break.session(ann) as (sender, _),
        cluster_to_break.session(bob) as (home, _),
        cluster_to_break.session(bob, device="web", visiting=True) as (visitor, _),
        crowd(cluster_to_break, name) as people,
    ):
        stop(pid) if how == "stands still" else os.kill(pid, signal.SIGKILL)
        try:
            for number in range(1, 61):
                text = f"message {number}"
                await sender.request(send=Send(client_id=text, user=bob, content=Content(text=text)))
                answered = asyncio.get_running_loop().time()
                await asyncio.gather(*(shows(wire, text) for wire in (home, visitor)))
                late_s = asyncio.get_running_loop().time() - answered
                assert late_s < 1.5, f"{text} came {late_s:.2f} s after its answer"
                await people.talk(0.1, rate_per_s=50)
        finally:
            if how == "stands still":
                go_on(pid)
        await people.talk(5, rate_per_s=50)
        await people.settle_and_check()
        for wire in (home, visitor):
            numbers = [entry.number for frame in wire.received for entry in frame.deliver.entries]
            assert set(numbers) == set(range(1, 61))
            assert sorted(set(numbers)) == list(dict.fromkeys(numbers)), "a number that is new is the next one"


async def at_different_nodes(cluster: Cluster, name: Name) -> tuple[str, str]:
    """Two users whose nodes differ."""
    homes: dict[str, str] = {}
    for number in range(100):
        user = name(f"u{number}")
        homes.setdefault(await cluster.home(user), user)
        if len(homes) == 2:
            break
    first, second = homes.values()
    return first, second


async def shows(wire: Wire, text: str) -> None:
    while True:
        frame = await wire.push("deliver", 10)
        if any(entry.message.content.text == text for entry in frame.deliver.entries):
            return


async def test_after_everything_was_killed_up_on_the_same_data_has_all_that_was_acknowledged(
    cluster_to_break: Cluster, name: Name
) -> None:
    await ready(cluster_to_break, 5)
    async with crowd(cluster_to_break, name) as people:
        async with asyncio.TaskGroup() as group:
            talking = group.create_task(people.talk(4))
            await asyncio.sleep(3)
            await asyncio.to_thread(kill_everything, cluster_to_break)
            await talking
        await asyncio.to_thread(
            cluster_to_break.tidings, "up", "--detach", "--port-base", str(cluster_to_break.port_base)
        )
        await people.talk(2)
        await people.settle_and_check()
    async with connect(next(iter(cluster_to_break.access().values())), "json"):
        pass


def kill_everything(cluster: Cluster) -> None:
    """The supervisor first: it would start again what dies."""
    status = cluster.status()
    nodes = [*status["access"], *status["logic"], *status["storage"], *status["backends"]]
    for pid in [status["supervisor"]["pid"], *(node["pid"] for node in nodes)]:
        os.kill(pid, signal.SIGKILL)
