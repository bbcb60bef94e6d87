"""Sessions of nodes that died are removed."""

from __future__ import annotations

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.node import Storage
from services.storage.owners.peers import NoPeers
from services.storage.upkeep.session_sweep import YOUNG_MS, SessionSweep
from tests.unit.storage.nodes import World
from tidings_protocol.errors import TidingsError


def item(
    session: str,
    device: str = "phone",
    user: str = "ann",
    boot: str = "b1",
    devices_max: int = 3,
    *,
    attempt: int = 0,
    since_ms: int = 0,
    again: bool = False,
    groups: tuple[str, ...] = (),
) -> pb.SessionItem:
    record = pb.SessionRecord(
        user=user,
        device=device,
        session=session,
        node="access-0",
        boot_id=boot,
        kind=2,
        attempt=attempt,
        since_ms=since_ms,
    )
    return pb.SessionItem(record=record, devices_max=devices_max, again=again, groups=groups)


async def present(node: Storage, user: str = "ann") -> list[str]:
    (found,) = await node.sessions.sessions_of([user])
    return [session.session for session in found.sessions]


async def opened(
    node: Storage, *items: pb.SessionItem, live: tuple[str, ...] = ("b1", "b2")
) -> list[pb.SessionOpenOutcome]:
    outcomes: list[pb.SessionOpenOutcome] = []
    for outcome in await node.sessions.open(items, live):
        if isinstance(outcome, TidingsError):
            raise outcome
        outcomes.append(outcome)
    return outcomes


async def test_sessions_of_dead_nodes_are_swept_and_their_users_were_seen_when_the_node_was_missed() -> None:
    world = World()
    world.hood.boots = frozenset({"b1", "b2"})
    async with world.node() as node:
        await opened(node, item("s1", boot="b1"), item("t1", user="bob", boot="b2"), item("u1", user="cid", boot="b9"))
        began_ms = world.clock.wall_ms()
        world.clock.advance(100)
        assert [await node.sweep.sweep(), await node.sweep.sweep()] == [0, 1]
        world.hood.boots = frozenset({"b2"})
        world.clock.advance(100)
        assert [await node.sweep.sweep(), await node.sweep.sweep()] == [0, 1]
        ann, bob, cid = await node.sessions.sessions_of(["ann", "bob", "cid"])
        assert (len(ann.sessions), len(bob.sessions), len(cid.sessions)) == (0, 1, 0)
        assert (ann.last_seen_ms, cid.last_seen_ms) == (world.clock.wall_ms(), began_ms)


async def test_a_session_that_has_just_begun_is_not_swept() -> None:
    world = World()
    world.hood.boots = frozenset()
    async with world.node() as node:
        await opened(node, item("s1"))
        assert [await node.sweep.sweep(), await node.sweep.sweep()] == [0, 0]


async def test_a_boot_that_only_one_sweep_missed_keeps_its_sessions() -> None:
    world = World()
    world.hood.boots = frozenset()
    async with world.node() as node:
        await opened(node, item("s1", boot="b7"))
        world.clock.advance(100)
        assert await node.sweep.sweep() == 0
        world.hood.boots = frozenset({"b7"})
        assert await node.sweep.sweep() == 0
        assert await present(node) == ["s1"]


async def test_nothing_is_swept_while_the_registry_is_away_and_for_a_sweep_after() -> None:
    world = World()
    world.hood.boots = frozenset()
    async with world.node() as node:
        await opened(node, item("s1", boot="b7"))
        world.clock.advance(100)
        assert await node.sweep.sweep() == 0
        world.hood.boots = None
        assert await node.sweep.sweep() == 0
        world.hood.boots = frozenset()
        assert [await node.sweep.sweep(), await node.sweep.sweep()] == [0, 1]


async def test_nobody_sweeps_while_nobody_knows_who_is_alive() -> None:
    world = World()
    async with world.node() as node:
        await opened(node, item("s1"))
        world.clock.advance(1000)
        assert await node.sweep.sweep() == 0


async def test_a_node_that_does_not_know_who_is_alive_reads_nothing() -> None:
    world = World()
    sweep = SessionSweep(world.database.repository(), NoPeers(), world.clock)
    world.clock.advance(2 * YOUNG_MS / 1000)
    assert [await sweep.sweep() for _ in range(2)] == [0, 0]
    assert world.database.faults.commands == 0
