"""News that gather for a moment before something is done about all of them at once.

    note ──▶ (gather_s) ──▶ flush ──▶ done, until the next note
                              └─ could not be done ──▶ (RETRY_S) ──▶ flush again

Guarantees: a flush begins after each note, and none while another is under way: what is noted meanwhile is of the next.
A flush that could not be done is done again, with what has come since.

Does not know: what the news are; who notes keeps them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

# What is not there now is asked again so soon: a second is short for people, and long for whoever starts anew. One
# value, wherever a part of a node asks another one again in the background.
RETRY_S: Final = 1.0


class Gatherer:
    """`run` it in a task; `note` from the event loop."""

    def __init__(self, flush: Callable[[], Awaitable[bool]], *, gather_s: float, retry_s: float = RETRY_S) -> None:
        """`flush`: whether all could be done. `gather_s`: how long news wait for others; 0: for none."""
        self._flush = flush
        self._gather_s = gather_s
        self._retry_s = retry_s
        self._news = asyncio.Event()

    def note(self) -> None:
        """There is something to do."""
        self._news.set()

    async def run(self) -> None:
        """Flushes for ever. A cancellation ends it, also in the middle of a flush; what `flush` raises ends it too."""
        while True:
            await self._news.wait()
            if self._gather_s:
                await asyncio.sleep(self._gather_s)
            self._news.clear()
            if not await self._flush():
                self._news.set()
                await asyncio.sleep(self._retry_s)
