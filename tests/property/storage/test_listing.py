"""Lists that are read by pages while everything moves: nothing is missed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.limits import Limits
from services.storage.node import Storage
from services.storage.pages.lists import SLACK_MS
from tests.unit.storage.nodes import World, changed, create, post, send, stored

CHATS, SMALL, LARGE = 9, 2, 4
PAGES_MAX = 200

# Between two pages: a message into one of the conversations, and whether time passes, and what is written behind.
moves = st.lists(
    st.tuples(st.integers(0, CHATS + SMALL + LARGE - 1), st.sampled_from([0.0, 0.001, 5.0]), st.booleans()), max_size=3
)


async def talk(node: Storage, which: int, client_id: str) -> None:
    if which < CHATS:
        await stored(node, send(f"peer{which}", "ann", client_id))
    elif which < CHATS + SMALL:
        await stored(node, post(f"g:small{which}", "ann", client_id, 1, ["ann", "bob"]))
    else:
        await stored(node, post(f"g:large{which}", "ann", client_id, 1))


async def begin(world: World, node: Storage) -> None:
    for which in range(CHATS + SMALL + LARGE):
        if which >= CHATS:
            large = which >= CHATS + SMALL
            await changed(node, create(f"g:{'large' if large else 'small'}{which}", "ann", "bob", large=large))
        await talk(node, which, "first")
        world.clock.advance(1)
    world.clock.advance(SLACK_MS / 1000)


@pytest.mark.parametrize("kept", [False, True])
@given(limit=st.integers(1, 6), steps=st.lists(moves, max_size=12), bytes_max=st.sampled_from([300, 100_000]))
async def test_nothing_is_missed_whatever_moves(
    kept: bool, limit: int, steps: list[list[tuple[int, float, bool]]], bytes_max: int
) -> None:
    world = World(limits=Limits(flush_interval_s=1e6, list_places_min=0 if kept else 10_000))
    async with world.node() as node:
        await begin(world, node)
        everything = CHATS + SMALL + LARGE
        seen: list[str] = []
        after, more, page_number = "", True, 0
        while more:
            item = pb.ConversationsItem(user="ann", after=after, limit=limit, bytes_max=bytes_max)
            (page,) = await node.lists.pages([item])
            assert not page.fault.code
            assert len(page.entries) <= limit
            seen += [entry.record.conversation for entry in page.entries]
            after, more = page.next, page.more
            for index, (which, seconds, flush) in enumerate(steps[page_number] if page_number < len(steps) else ()):
                world.clock.advance(seconds)
                await talk(node, which, f"{page_number}.{index}")
                if flush:
                    await node.behind.flush()
            page_number += 1
            assert page_number < PAGES_MAX
        assert len(set(seen)) == everything
        if not any(steps):
            assert len(seen) == everything, "a list that nobody moves has nothing twice"
