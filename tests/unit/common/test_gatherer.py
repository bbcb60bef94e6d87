"""News gather for a moment, and what could not be done is done again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.common.gatherer import Gatherer
from services.common.scope import TaskScope


class Worker:
    """Fails as often as it is told to; what is noted while it works is of the next flush."""

    def __init__(self, *, failures: int = 0) -> None:
        self.failures = failures
        self.noted: list[str] = []
        self.flushed: list[list[str]] = []
        self.turn = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.gatherer = Gatherer(self.flush, gather_s=0.0, retry_s=0.0)

    def note(self, news: str) -> None:
        self.noted.append(news)
        self.gatherer.note()

    async def flush(self) -> bool:
        taken, self.noted = self.noted, []
        self.flushed.append(taken)
        self.turn.set()
        await self.may_end.wait()
        if self.failures:
            self.failures -= 1
            self.noted = taken + self.noted
            return False
        return True

    async def until(self, flushes: int) -> None:
        async with asyncio.timeout(5):
            while len(self.flushed) < flushes:
                self.turn.clear()
                await self.turn.wait()


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    async with TaskScope() as scope:
        scope.spawn(worker.gatherer.run(), name="gatherer")
        yield


async def test_what_is_noted_at_once_is_done_at_once_and_nothing_is_done_without_news() -> None:
    worker = Worker()
    async with running(worker):
        await asyncio.sleep(0)
        assert not worker.flushed
        worker.note("a")
        worker.note("b")
        await worker.until(1)
        await asyncio.sleep(0)
    assert worker.flushed == [["a", "b"]]


async def test_what_could_not_be_done_is_done_again_with_what_has_come_since() -> None:
    worker = Worker(failures=2)
    async with running(worker):
        worker.note("a")
        await worker.until(1)
        worker.note("b")
        await worker.until(3)
    assert worker.flushed == [["a"], ["a", "b"], ["a", "b"]]


async def test_what_is_noted_during_a_flush_is_of_the_next_one() -> None:
    worker = Worker()
    worker.may_end.clear()
    async with running(worker):
        worker.note("a")
        await worker.until(1)
        worker.note("b")
        assert worker.flushed == [["a"]]
        worker.may_end.set()
        await worker.until(2)
    assert worker.flushed == [["a"], ["b"]]
