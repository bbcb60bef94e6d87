"""Lifetimes: `Owned` is a thing that is entered and left, `TaskScope` the owner of its background tasks.

    class Acks(Owned):
        async def _running(self) -> AsyncIterator[None]:
            async with self._scope:
                self._scope.spawn(self._tell(), name="acks")
                yield                    # what stands before is entering, what comes after is leaving
            await self._flush()          # only when it is left without an error

    async with TaskScope() as scope:
        scope.spawn(self._watch(), name="registry watch")

Guarantees:
- an `Owned` is left as its function says, also when entering fails or is cancelled half way: `async with` and `finally`
  in that function undo what was done;
- no task outlives the scope: leaving cancels what still runs and waits for it (`drain=True`: leaving without an error
  waits for the tasks to end by themselves; an error or a cancellation cuts that short);
- a task that crashes ends the scope: its owner is cancelled and leaving raises the crash, as in asyncio.TaskGroup;
- unlike in a TaskGroup, an exception of the body itself stays what it is and is not wrapped in a group.

Does not know: what the tasks do.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

from tidings_protocol.errors import TidingsError

R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")


class Owned(ABC):
    """An async context manager whose life is one function, `_running`. Use it as often as that allows."""

    __lifetime: AbstractAsyncContextManager[None]

    @abstractmethod
    def _running(self) -> AsyncIterator[None]:
        """An async generator with one `yield`: there the thing is entered. An error of the body is raised there."""

    async def __aenter__(self) -> Self:
        self.__lifetime = asynccontextmanager(self._running)()
        await self.__lifetime.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.__lifetime.__aexit__(kind, error, traceback)


class TaskScope:
    """Born with `async with`; use it once."""

    def __init__(self, *, drain: bool = False) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._drain = drain

    @property
    def running(self) -> int:
        """How many of its tasks have not ended."""
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """A task that ends with the scope at the latest."""
        task = self._group.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None or not self._drain:
            for task in self._tasks:
                task.cancel()
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            # The group has to see it: it may be its own, because a task crashed.
            await self._group.__aexit__(kind, error, traceback)
        else:
            await self._group.__aexit__(None, None, None)


async def run_both(one: Coroutine[Any, Any, A], other: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Runs two works that give different things, as `run_all` does."""
    given: list[Any] = await run_all(one, other)
    return given[0], given[1]


async def run_each(work: Callable[[A], Coroutine[Any, Any, R]], items: Sequence[A], *, at_once: int) -> list[R]:
    """Runs the work for each of the items, begun in their order, at most so many at the same time, as `run_all` does;
    gives what they return, aligned.
    """
    if len(items) == 1:
        return [await work(items[0])]
    given: dict[int, R] = {}
    waiting = iter(enumerate(items))

    async def worker() -> None:
        for index, item in waiting:
            given[index] = await work(item)

    await run_all(*(worker() for _ in range(min(at_once, len(items)))))
    return [given[index] for index in range(len(items))]


async def run_all(*works: Coroutine[Any, Any, R]) -> list[R]:
    """Runs all of these at the same time and gives what they return, aligned, when all have ended.

    If one fails, the others are cancelled, and its TidingsError is raised as it is; any other failure is raised in a
    group. Cancelling the caller cancels all of them, and is raised, whatever they do about it. No TaskGroup: before
    Python 3.13 one whose task fails while its caller is cancelled raises the failure alone, so that the caller goes on.
    """
    tasks = [asyncio.create_task(work, name="run_all") for work in works]
    try:
        await _first_failure(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await _ended(tasks)
    failures = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
    refusals = [failure for failure in failures if isinstance(failure, TidingsError)]
    if refusals and len(refusals) == len(failures):
        raise refusals[0]
    if failures:
        raise BaseExceptionGroup("works that were run together failed", failures)
    return [task.result() for task in tasks]


async def _first_failure(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Waits until one has failed, or all have ended."""
    if tasks:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)


async def _ended(tasks: Collection[asyncio.Task[Any]]) -> None:
    while running := [task for task in tasks if not task.done()]:
        await asyncio.wait(running)
