"""The part of a node that is open exactly while its lanes are.

Guarantees: the lanes are entered in the order in which they are named, and left in the opposite one; if one cannot be
entered, those before it are left again.

Does not know: what the lanes carry.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Self


class LaneHolder(ABC):
    """An async context manager: entering it enters its lanes, leaving it answers what waits in them and leaves them."""

    _entered: AsyncExitStack

    @abstractmethod
    def _parts(self) -> Iterable[AbstractAsyncContextManager[Any]]:
        """The lanes, and whatever else has their lifetime, in the order in which they are entered."""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for part in self._parts():
                await stack.enter_async_context(part)
            self._entered = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._entered.__aexit__(kind, error, traceback)
