"""A large group whose members come and go all the time: no message tells of it, so only the stream of events does.

Those who come and go have no devices; the founder adds who is not there and removes who is, one at a time, so that each
act changes something, and what nobody is told of the first time only a repeat can tell.

Does not know: what breaks.
"""

from __future__ import annotations

import asyncio
import random

from tests.simulation.nodes import LARGE_ABOVE
from tests.support.device.device import Device
from tests.support.histories.history import Changed
from tidings_protocol.client_pb2 import GroupRequest

CHANGE_S = (0.05, 0.5)
GUESTS = tuple(f"guest{number}" for number in range(LARGE_ABOVE + 3))


class Hall:
    """`open` it once, then let people `come_and_go`."""

    def __init__(self, founder: Device, rng: random.Random) -> None:
        self._founder = founder
        self._rng = rng
        self._conversation = ""

    async def open(self) -> None:
        create = GroupRequest(create=GroupRequest.Create(name="hall", members=GUESTS, client_id="hall"))
        self._conversation = (await self._founder.act(create)).group_info.conversation

    async def come_and_go(self, seconds: float) -> None:
        there = set(GUESTS)
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            guest = self._rng.choice(GUESTS)
            if guest not in there:
                act = "add"
                request = GroupRequest(add=GroupRequest.Add(conversation=self._conversation, users=[guest]))
            else:
                act = "remove"
                request = GroupRequest(remove=GroupRequest.Remove(conversation=self._conversation, users=[guest]))
            await self._founder.act(request)
            there ^= {guest}
            self._founder.history.add(Changed(self._conversation, act, self._founder.user, (guest,)))
            await asyncio.sleep(self._rng.uniform(*CHANGE_S))
