"""What a node remembers of sessions changes nothing: with it and without, every login has the same outcome."""

from __future__ import annotations

from contextlib import AsyncExitStack

from hypothesis import given
from hypothesis import strategies as st

from protos.tidings.internal.v1 import storage_pb2 as pb
from tests.unit.storage.nodes import World
from tidings_protocol.errors import TidingsError

DEVICES = ("phone", "web")

# On which of two nodes; which sessions of which device, with which attempts; whether they end; how long after the last.
logins = st.tuples(st.integers(0, len(DEVICES) - 1), st.integers(1, 5), st.booleans())
steps = st.lists(
    st.tuples(st.integers(0, 1), st.lists(logins, min_size=1, max_size=3), st.booleans(), st.sampled_from([0, 1, 90])),
    max_size=25,
)
Steps = list[tuple[int, list[tuple[int, int, bool]], bool, int]]


async def told_by(world: World, done: Steps, *, forgetting: bool) -> list[object]:
    """What every login of two nodes was told, of which each thinks that it is the owner; and what is there after each
    step.
    """
    world.hood.owner_of = lambda _: ""
    told: list[object] = []
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(world.node(name)) for name in ("one", "two")]
        for which, items, ends, pause_s in done:
            world.clock.advance(pause_s)
            node = nodes[which]
            if forgetting:
                node.known.forget(["ann"])
            if ends:
                await node.sessions.close(
                    [
                        pb.SessionCloseItem(user="ann", device=DEVICES[device], session=f"{device} {number}")
                        for device, number, _ in items
                    ]
                )
            else:
                outcomes = await node.sessions.open(
                    [
                        pb.SessionItem(
                            record=pb.SessionRecord(
                                user="ann",
                                device=DEVICES[device],
                                session=f"{device} {number}",
                                boot_id="b1",
                                attempt=number if numbered else 0,
                            )
                        )
                        for device, number, numbered in items
                    ],
                    ["b1"],
                )
                for outcome in outcomes:
                    assert not isinstance(outcome, TidingsError)
                    named = (outcome.replaced, *outcome.replaced_before)
                    told.append((outcome.newer.session, [each.session for each in named]))
            told.append({key: each.session for key, each in world.database.sessions["ann"].items()})
    return told


@given(steps)
async def test_memory_changes_no_outcome(done: Steps) -> None:
    assert await told_by(World(), done, forgetting=False) == await told_by(World(), done, forgetting=True)
