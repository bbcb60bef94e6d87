"""Waiting for what a client is told."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from tidings import Client, Event

PATIENCE_S = 10.0
Told = TypeVar("Told", bound=Event)


async def the_next(client: Client, kind: type[Told]) -> Told:
    """The next event of this kind."""
    async with asyncio.timeout(PATIENCE_S):
        async for event in client.events():
            if isinstance(event, kind):
                return event
    raise AssertionError("the events ended")
