"""Slow groups: nobody sends sooner for a crash, a second writer or a restart."""

from __future__ import annotations

from contextlib import AsyncExitStack

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.messages.pacing import Pacing
from services.storage.node import Storage
from services.storage.repository.memory import Faults
from services.storage.repository.records import MemberKey
from tests.unit.storage.nodes import Neighbourhood, World, change, changed, create, post, stored
from tidings_protocol.client_pb2 import GroupSettings
from tidings_protocol.errors import TidingsError

G = "g:1"
Outcome = pb.StoreOutcome


def slow(client_id: str, sender: str = "bob") -> pb.StoreItem:
    item = post(G, sender, client_id, 2, ["ann", "bob"])
    item.slow_s = 30
    return item


async def slow_group(node: Storage) -> None:
    await changed(node, create(G, "ann", "bob"))
    item = change(G, "ann", "slow", 1, notices=[["ann", "bob"]])
    item.settings.settings = GroupSettings(slow_s=30).SerializeToString()
    await changed(node, item)


async def test_who_sends_too_soon_is_told_when_to_and_no_seq_is_taken() -> None:
    world = World()
    async with world.node() as node:
        await slow_group(node)
        [first] = await stored(node, slow("one"))
        world.clock.advance(12)
        [second] = await stored(node, slow("two"))
        assert (second.status, second.fault.code) == (Outcome.REFUSED, "FORBIDDEN")
        assert second.fault.retry_after_ms == 18_000
        [again] = await stored(node, slow("one"))
        assert (again.status, again.seq) == (Outcome.DUPLICATE, first.seq)
        world.clock.advance(18)
        [second] = await stored(node, slow("two"))
        assert second.seq == first.seq + 1


async def test_of_several_in_one_batch_the_first_is_stored() -> None:
    async with World().node() as node:
        await slow_group(node)
        outcomes = await stored(node, slow("one"), slow("two"), slow("one"))
        assert [outcome.status for outcome in outcomes] == [Outcome.STORED, Outcome.REFUSED, Outcome.DUPLICATE]


async def test_a_message_whose_writer_died_before_it_kept_the_time_counts() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        faults = Faults()
        node = await stack.enter_async_context(world.node(faults=faults))
        await slow_group(node)

        async def dies(name: str) -> None:
            faults.away = faults.away or name == "paces.write"

        faults.delay = dies
        [outcome] = await node.conversations.store([slow("one")])
        assert isinstance(outcome, TidingsError)
        assert world.database.beside.paces == {}
    async with world.node("two") as node:
        world.hood.owner_of = lambda _: "two"
        world.clock.advance(1)
        [second] = await stored(node, slow("two"))
        assert second.status == Outcome.REFUSED
        [first] = await stored(node, slow("one"))
        assert first.status == Outcome.DUPLICATE


async def test_another_node_that_writes_in_the_owners_place_counts_too() -> None:
    world = World(hood=Neighbourhood(lambda _: ""))
    async with world.node("one") as one, world.node("two") as two:
        await slow_group(one)
        [first] = await stored(one, slow("ann's", "ann"))
        assert first.status == Outcome.STORED
        [first] = await stored(two, slow("one"))
        assert first.status == Outcome.STORED
        [second] = await stored(one, slow("two"))
        assert second.status == Outcome.REFUSED


async def test_a_group_that_is_not_slow_is_asked_for_nothing() -> None:
    world = World()
    async with world.node() as node:
        await changed(node, create(G, "ann", "bob"))
        commands: list[str] = []

        async def note(name: str) -> None:
            commands.append(name)

        world.database.faults.delay = note
        await stored(node, post(G, "bob", "one", 1, ["ann", "bob"]))
        assert not any(name.startswith("paces") for name in commands)
        await Pacing(world.database.repository().groups.paces).learn([])


async def test_the_time_of_a_message_is_kept() -> None:
    world = World()
    async with world.node() as node:
        await slow_group(node)
        [outcome] = await stored(node, slow("one"))
        assert world.database.beside.paces == {MemberKey(G, "bob"): outcome.time_ms}
