"""What is left of dissolved groups is cleared away, in steps."""

from __future__ import annotations

import pytest

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.node import Storage
from services.storage.repository.memory import Faults
from services.storage.upkeep import dissolution
from tests.unit.storage.nodes import Neighbourhood, World, change, changed, create, inbox_of, members_of
from tidings_protocol.errors import Unavailable

G = "g:1"
USERS = [f"u{number}" for number in range(7)]


@pytest.fixture(autouse=True)
def _steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dissolution, "STEP", 2)
    monkeypatch.setattr(dissolution, "PAUSE_S", 0)


async def dissolved(node: Storage, *, large: bool) -> None:
    await changed(node, create(G, "ann", *USERS, large=large))
    users = () if large else ("ann", *USERS)
    end = change(G, "ann", "end", 1, removed=users, notices=[users])
    end.dissolves = True
    outcome = await changed(node, end)
    assert (outcome.record.dissolved, outcome.record.member_count) == (True, 0)


@pytest.mark.parametrize("large", [True, False])
async def test_nobody_is_a_member_from_the_end_on_and_after_it_is_cleared_away(large: bool) -> None:
    world = World()
    async with world.node() as node:
        await dissolved(node, large=large)
        for _ in range(2):
            assert await members_of(node, G) == {}
            for large_only in (True, False):
                item = pb.ConversationsItem(user="u1", limit=9, large_only=large_only)
                [listed] = await node.lists.pages([item])
                assert [entry.record.conversation for entry in listed.entries] == []
            [page] = await node.pages.members([pb.MembersItem(conversation=G)])
            assert list(page.members) == []
            [refused, unknown] = await node.cursors.mark(
                [pb.MarkItem(conversation=G, user=user, read_seq=1) for user in ("u1", "eve")]
            )
            assert (refused.fault.code, unknown.fault.code) == ("FORBIDDEN", "NOT_FOUND")
            await node.dissolution.sweep()
        assert world.database.beside.dissolved == {}
        assert await inbox_of(node, "u1") == ([] if large else [(1, G, 1), (2, G, 2)])


async def test_a_sweep_that_was_interrupted_is_gone_on_with() -> None:
    world = World()
    faults = Faults()
    async with world.node(faults=faults) as node:
        await dissolved(node, large=True)
        released = 0

        async def dies(name: str) -> None:
            nonlocal released
            released += name == "dissolved.release"
            faults.away = released > 3

        faults.delay = dies
        with pytest.raises(Unavailable):
            await node.dissolution.sweep()
        faults.delay, faults.away = None, False
        assert sum(not member.gone for member in world.database.members[G].values()) > 0
        assert await node.dissolution.sweep() == 1
        assert all(member.gone and member.former for member in world.database.members[G].values())


async def test_the_owner_sweeps() -> None:
    world = World(hood=Neighbourhood(lambda _: "two"))
    async with world.node("one") as one, world.node("two") as two:
        await dissolved(two, large=True)
        assert await one.dissolution.sweep() == 0
        assert await two.dissolution.sweep() == 1
