"""The part of a node that is open exactly while its lanes are.

Guarantees: the lanes are entered in the order in which they are named, and left in the opposite one; if one cannot be
entered, those before it are left again.

Does not know: what the lanes carry.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from services.common.scope import Owned


class LaneHolder(Owned):
    """An async context manager: entering it enters its lanes, leaving it answers what waits in them and leaves them."""

    @abstractmethod
    def _parts(self) -> Iterable[AbstractAsyncContextManager[Any]]:
        """The lanes, and whatever else has their lifetime, in the order in which they are entered."""

    async def _running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for part in self._parts():
                await stack.enter_async_context(part)
            yield
