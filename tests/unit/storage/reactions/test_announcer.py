"""What is done about messages whose sets may be ahead of the log."""

from __future__ import annotations

from services.storage.reactions.announcer import LINGER_S
from services.storage.repository.memory import Faults
from tests.unit.storage.nodes import World, react, send, stored
from tidings_protocol.errors import TidingsError

COUNT = 40


async def test_that_the_log_says_all_is_noted_for_all_messages_together() -> None:
    world, faults, commands = World(), Faults(), list[str]()

    async def count(name: str) -> None:
        commands.append(name)

    async with world.node(faults=faults) as node:
        for number in range(COUNT):
            await stored(node, send("ann", "bob", f"m{number}"))
        items = [react("d:ann|bob", seq, "bob", "+", recipients=("ann", "bob")) for seq in range(1, COUNT + 1)]
        outcomes = await node.reactions.react(items)
        assert not any(isinstance(each, TidingsError) for each in outcomes)
        assert len(world.database.ahead) == COUNT
        world.clock.advance(1.0)
        await node.reactions.announce()
        faults.delay = count
        world.clock.advance(LINGER_S)
        await node.reactions.announce()
        faults.delay = None
        assert not world.database.ahead
        assert commands.count("reactions.mark") == 2, "once before it is done, once after"
