"""A node that serves in an owner's place: the owner, if it is alive after all, hears of it and reads again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.memory.write_behind import WriteBehind
from services.storage.node import Storage
from services.storage.owners import invalidation
from services.storage.owners.invalidation import OwnerInvalidation
from services.storage.owners.peers import NoPeers
from services.storage.owners.ring_change import ALL_SLOTS
from tests.unit.storage.nodes import World, send, stored
from tidings_protocol.errors import Unavailable

CHAT = "d:ann|bob"


@asynccontextmanager
async def owner_and_other(world: World) -> AsyncIterator[tuple[Storage, Storage]]:
    """The owner of everything, with one message in its memory, and a node that reaches it no more."""
    async with world.node("one") as owner, world.node("two") as other:
        await stored(owner, send("ann", "bob", "a"))
        world.hood.unreachable.add("one")
        yield owner, other
        world.hood.unreachable.discard("one")


async def heads(owner: Storage) -> list[int]:
    """What the owner says of the conversation and of bob's inbox."""
    conversation = await owner.pages.conversation_heads([CHAT], warm_only=False)
    return [*conversation.heads, *(await owner.pages.inbox_heads(["bob"])).heads]


async def test_an_owner_that_is_reached_again_is_told_what_was_written_in_its_place() -> None:
    world = World()
    async with owner_and_other(world) as (owner, other):
        await stored(other, send("ann", "bob", "b"))
        assert await heads(owner) == [1, 1]
        assert not await other.invalidation.flush()
        world.hood.unreachable.discard("one")
        assert await other.invalidation.flush()
        assert other.invalidation.waiting == 0
        assert await heads(owner) == [2, 2]


async def test_an_owner_that_is_not_told_yet_believes_a_device_that_holds_more_than_it_remembers() -> None:
    """Otherwise the welcome would tell the device to forget all that it has."""
    world = World()
    async with owner_and_other(world) as (owner, other):
        await stored(other, send("ann", "bob", "b"))
        record = pb.SessionRecord(user="bob", device="phone", session="s1", node="access-0", boot_id="b1", kind=2)
        (outcome,) = await owner.sessions.open([pb.SessionItem(record=record, cursor=2)], ["b1"])
        assert isinstance(outcome, pb.SessionOpenOutcome)
        assert outcome.inbox_head == 2


async def test_what_a_node_writes_to_its_own_is_told_to_nobody() -> None:
    async with World().node("one") as owner:
        await stored(owner, send("ann", "bob", "a"))
        assert owner.invalidation.waiting == 0


async def test_what_became_a_nodes_own_meanwhile_is_told_to_nobody() -> None:
    world = World()
    async with owner_and_other(world) as (_, other):
        await stored(other, send("ann", "bob", "b"))
        world.hood.owner_of = lambda _: "two"
        assert await other.invalidation.flush()


async def test_a_node_that_leaves_tells_before_it_is_gone() -> None:
    world = World()
    async with world.node("one") as owner:
        await stored(owner, send("ann", "bob", "a"))
        async with world.node("two") as other:
            world.hood.unreachable.add("one")
            await stored(other, send("ann", "bob", "b"))
            world.hood.unreachable.discard("one")
        assert await heads(owner) == [2, 2]


async def test_when_a_node_died_untold_the_others_trust_nothing_that_they_remember() -> None:
    world = World()
    async with owner_and_other(world) as (owner, other):
        await stored(other, send("ann", "bob", "b"))
        owner.ring_changed(ALL_SLOTS)
        assert await heads(owner) == [2, 2]


class Away(NoPeers):
    """All is another node's, which nobody reaches."""

    def __init__(self) -> None:
        self.told: list[pb.ForgetBatch] = []

    def owner_of(self, slot: int) -> str | None:
        return "two"

    async def forget(self, owner: str, batch: pb.ForgetBatch) -> None:
        self.told.append(batch)
        raise Unavailable("two does not answer")


async def test_the_oldest_notes_are_given_up_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invalidation, "NOTED_MAX", 2)
    world, peers = World(), Away()
    notes = OwnerInvalidation(peers, WriteBehind(world.database.repository(), world.clock))
    assert await notes.flush()
    notes.wrote_inboxes(["ann", "bob"])
    notes.wrote_conversations([CHAT])
    assert notes.waiting == 2
    assert not await notes.flush()
    assert [(list(batch.users), list(batch.conversations)) for batch in peers.told] == [(["bob"], [CHAT])]
    assert notes.waiting == 2
