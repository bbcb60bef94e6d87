"""However the parts of a stream come, and whatever becomes of its owners: in the end the text is what its sender wrote.

A sender keeps its parts, and goes on from `next_part`, as the protocol's page says. Owners die with what they have not
written, or hand over; the database is away for a moment; parts come twice, or are lost on their way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

from hypothesis import given
from hypothesis import strategies as st

from protos.tidings.internal.v1 import storage_pb2 as pb
from services.storage.node import Storage
from services.storage.repository.memory import Faults
from tests.unit.storage.changing import act, entry, finish_of, text_of
from tests.unit.storage.nodes import World, stored
from tests.unit.storage.streams.streaming import CHAT, stream
from tidings_protocol.errors import TidingsError

PARTS = [f"{number} " for number in range(1, 25)]
STEPS = st.lists(
    st.sampled_from(("part", "part", "part", "lost", "twice", "tick", "moves", "dies", "away")), max_size=60
)
ROUNDS_MAX = 100


class Sender:
    """Sends its parts one after the other, from the one that is wanted."""

    def __init__(self) -> None:
        self.following = 1

    async def send(self, node: Storage, *, times: int = 1) -> None:
        number = min(self.following, len(PARTS))
        item = pb.PartItem(conversation=CHAT, seq=1, sender="ann", part=number, text=PARTS[number - 1])
        for outcome in await node.parts.take([item] * times, 10_000):
            if not isinstance(outcome, TidingsError):
                self.following = number + 1
            elif outcome.next_part:
                self.following = outcome.next_part

    async def finish(self, node: Storage) -> bool:
        """Whether the stream has ended."""
        [outcome] = await node.conversations.store([act("ann", "bob", "end", finish_of(1, parts=len(PARTS)))])
        if isinstance(outcome, TidingsError):
            return False
        if outcome.fault.next_part:
            self.following = outcome.fault.next_part
        return not outcome.fault.code and outcome.status != pb.StoreOutcome.FAILED


async def _play(steps: Sequence[str]) -> None:
    world, sender, boots = World(), Sender(), 0
    async with AsyncExitStack() as stack:

        async def boot() -> tuple[Storage, Faults]:
            nonlocal boots
            boots += 1
            faults, name = Faults(), f"boot {boots}"
            world.hood.owner_of = lambda _: name
            return await stack.enter_async_context(world.node(name, faults=faults)), faults

        node, faults = await boot()
        stack.callback(lambda: setattr(faults, "away", False))
        await stored(node, stream("ann", "bob", "begin"))
        for step in steps:
            match step:
                case "part":
                    await sender.send(node)
                case "twice":
                    await sender.send(node, times=2)
                case "lost":
                    sender.following += 1
                case "tick":
                    with suppress(TidingsError):
                        await node.keeper.tick()
                case "moves":
                    await node.keeper.leave()
                    node, faults = await boot()
                case "dies":
                    faults.away = True
                    node, faults = await boot()
                case _:
                    faults.refuse(1)
                    await sender.send(node)
        for _ in range(ROUNDS_MAX):
            if await sender.finish(node):
                break
            await sender.send(node)
        else:
            raise AssertionError("the stream never ended")
        assert text_of(entry(world, 1)) == "".join(PARTS)
        assert entry(world, 1).parts is None
        for _ in range(len(steps) + 3):  # each may still meet a database that is away
            with suppress(TidingsError):
                await node.keeper.tick()
        assert world.database.conversations[CHAT].streams == ()


@given(STEPS)
def test_the_whole_text_is_there_in_the_end(steps: Sequence[str]) -> None:
    asyncio.run(_play(steps))
