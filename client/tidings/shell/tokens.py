"""Where the application's tokens come from: it gave one, or a function that gives one whenever it is asked."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

TOKEN_S = 30.0

TokenSource = str | Callable[[], str | Awaitable[str]]


async def token_from(source: Callable[[], str | Awaitable[str]]) -> str:
    """What the application gives, in time. Raises whatever its function does, or TimeoutError."""
    async with asyncio.timeout(TOKEN_S):
        token = source()
        return await token if inspect.isawaitable(token) else token
