"""What goes wrong with the twin in memory, and when.

Guarantees: as it is told, and in the order of the commands. Does not know: what the commands do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tidings_protocol.errors import Unavailable


class Faults:
    """What goes wrong, and when."""

    def __init__(self) -> None:
        self.away = False
        self.delay: Callable[[str], Awaitable[None]] | None = None
        self.commands = 0
        self._refusals = 0
        self._lost = 0
        self._cut: int | None = None

    def refuse(self, commands: int = 1) -> None:
        self._refusals += commands

    def lose_answers(self, writes: int = 1) -> None:
        self._lost += writes

    def cut(self, count: int) -> None:
        self._cut = count

    async def before(self, name: str) -> None:
        """Called by every command before it does anything."""
        self.commands += 1
        if self.delay is not None:
            await self.delay(name)
        if self.away:
            raise away()
        if self._refusals:
            self._refusals -= 1
            raise away()

    async def after(self, name: str) -> None:
        """Called by every write when it is done."""
        if self._lost:
            self._lost -= 1
            raise away()
        if self.delay is not None:
            await self.delay(name)

    def take_cut(self) -> int | None:
        """How many of an ordered insert are done before it fails; None: all."""
        cut, self._cut = self._cut, None
        return cut


def away() -> Unavailable:
    return Unavailable("the message store does not answer: try again")
