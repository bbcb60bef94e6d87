"""Leaving on purpose: out of the ring, nobody new, then everyone goes at a pace, after what they have under way.

    1. `draining` in the registry: the ring goes on without this node, the new owners forward to it as a visitor's node
    2. new connections are answered 503 (TCP: goodbye 4003), those without a session are turned away the same way
    3. goodbyes 4000, `pace` a second, each with the address of the node that follows and a delay of its own
    4. when the last is gone, or the deadline is near, the process goes on ending

The pace is the one that was asked for, else the setting, and never so slow that the deadline would be missed. The same
goodbyes, without the rest, end the sessions of a boot whose lease was lost: their records say that they are offline,
and a newer session of their device may be anywhere by now (newest wins). So their clients log in again, one after the
other, and until then they are served as before.

Guarantees: a connection is asked once; what it has under way is answered first, for some seconds at most. Does not
know: signals, sockets.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Final

from services.access.connection.connection import Connection
from services.access.placement.placement import Placement
from services.access.session.events import AskedToLeave, EndRequested
from services.access.session.session import Phase
from tidings_protocol import close

# Of the deadline: for the goodbyes, so that the rest is left for what they leave behind.
SHARE: Final = 0.6
STEP_S: Final = 0.05
RETRY_MIN_MS: Final = 100
RETRY_SPREAD_MS: Final = 1500


class Farewell:
    """Says goodbye to connections at a pace."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement

    async def say(
        self, connections: Iterable[Connection], pace_per_s: float, *, staying: bool = False, at_once: bool = False
    ) -> None:
        """Returns when all of them were asked. `staying`: they may come back to this node. `at_once`: what they have
        under way will not be answered.
        """
        loop = asyncio.get_running_loop()
        asked, began = 0, loop.time()
        for connection in connections:
            if self._ask(connection, staying, at_once):
                asked += 1
            # Ahead of the pace: wait, in steps that a timer can keep.
            ahead_s = asked / pace_per_s - (loop.time() - began)
            if ahead_s > STEP_S:
                await asyncio.sleep(ahead_s)

    def _ask(self, connection: Connection, staying: bool, at_once: bool) -> bool:
        match connection.session.phase:
            case Phase.OPEN:
                user, transport = connection.user, connection.transport.name
                if staying:
                    address = self._placement.address_for(user, transport, connection.identity.avoid)
                else:
                    address = self._placement.next_address(user, transport)
                retry_ms = RETRY_MIN_MS + random.randrange(RETRY_SPREAD_MS)
                if at_once:
                    connection.handle(EndRequested(close.DRAINING, retry_after_ms=retry_ms, address=address))
                else:
                    connection.leave(AskedToLeave(close.DRAINING, retry_after_ms=retry_ms, address=address))
                return True
            case Phase.CLOSING:
                return False
            case Phase.AWAITING_HELLO | Phase.OPENING:
                connection.handle(EndRequested(close.OVERLOADED, "this node is leaving: connect again", RETRY_MIN_MS))
                return False


def pace_for(sessions: int, *, asked_per_s: float, setting_per_s: float, deadline_s: float) -> float:
    """Goodbyes a second."""
    if asked_per_s:
        return asked_per_s
    return max(setting_per_s, sessions / max(1.0, SHARE * deadline_s))
