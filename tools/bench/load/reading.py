"""The workloads `sync` and `history`: users read what is stored, page by page.

`sync`: all were away while each missed so many messages; then they fetch them at once. `history`: all read backwards
through their group's conversation, again and again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tidings_protocol import client_pb2 as pb
from tools.bench.accounts.samples import Samples
from tools.bench.load.crowd import until
from tools.bench.load.group import GroupRun, Member
from tools.bench.plan import Share
from tools.bench.users.scan import Page
from tools.cli.failure import Failure

WRITING_S = 600.0
WRITING_WINDOW = 50
LEFT_S = 1.0


class ReadingRun(GroupRun):
    """Groups with so many messages in each."""

    def __init__(self, share: Share, name: str) -> None:
        super().__init__(share, name)
        self.pages = Samples()
        self.entries = 0
        self.began = self.ended = 0.0

    async def write(self) -> None:
        """The first member of each group writes all its messages. Raises Failure."""
        writers = [group.members[0] for group in self.groups]
        total = self.share.plan.messages
        for writer in writers:
            for _ in range(min(WRITING_WINDOW, total)):
                writer.send(time.monotonic())
        await until(lambda: all(writer.ledger.acknowledged >= total for writer in writers), WRITING_S)
        if any(writer.ledger.acknowledged < total for writer in writers):
            raise Failure(f"The {total} messages of each group could not be written within {WRITING_S:g} s.")

    def answered(self, sender: Member) -> None:
        if sender.sent < self.share.plan.messages:
            sender.send(time.monotonic())

    async def page(self, member: Member, frame: pb.ClientFrame) -> Page:
        due = time.monotonic()
        page = await member.fetch(frame)
        now = time.monotonic()
        self.pages.add(due, now)
        if self.pages.begin <= now < self.pages.end:
            self.entries += len(page.entries)
        return page

    async def settle(self) -> dict[str, Any]:
        for group in self.groups:
            self._count(group)
        self.tally.sent += sum(member.sent for member in self.users)
        elapsed_s = self.ended - self.began
        return {"page": self.pages.told(), "elapsed_s": elapsed_s, "counts": {"entries": self.entries}}


class SyncRun(ReadingRun):
    """Everybody but the writers is away while they write."""

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        async with self.opened(self.share.urls):
            await self.found()
            self.readers = [member for group in self.groups for member in group.members[1:]]
            for reader in self.readers:
                reader.close()
            await asyncio.sleep(LEFT_S)
            await self.write()
            async with asyncio.TaskGroup() as tasks:
                for index, reader in enumerate(self.readers):
                    tasks.create_task(reader.open(self.share.urls[index % len(self.share.urls)]))
            yield

    async def measure(self, start: float) -> None:
        self.pages.begin, self.pages.end = start, start + 1e9
        await asyncio.sleep(max(0.0, start - time.monotonic()))
        self.began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for reader in self.readers:
                tasks.create_task(self._catch_up(reader))
        self.ended = time.monotonic()

    async def _catch_up(self, reader: Member) -> None:
        more = True
        while more:
            asked = pb.Sync(after=reader.cursor, limit=self.share.plan.page)
            page = await self.page(reader, pb.ClientFrame(sync=asked))
            before = reader.cursor
            reader.arrive(page.entries, None)
            more = page.more and reader.cursor > before


class HistoryRun(ReadingRun):
    """Reads for `seconds`."""

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        async with self.opened(self.share.urls):
            await self.found()
            await self.write()
            yield

    async def measure(self, start: float) -> None:
        plan = self.share.plan
        self.began, self.ended = start + plan.warmup_s, start + plan.warmup_s + plan.seconds
        self.pages.begin, self.pages.end = self.began, self.ended
        await asyncio.sleep(max(0.0, start - time.monotonic()))
        async with asyncio.TaskGroup() as tasks:
            for member in self.users:
                tasks.create_task(self._read(member))

    async def _read(self, member: Member) -> None:
        """One page after the other, from the newest to the oldest, and from the newest again."""
        before = 0
        while time.monotonic() < self.ended:
            asked = pb.History(conversation=member.group.id, limit=self.share.plan.page)
            if before:
                asked.before = before
            page = await self.page(member, pb.ClientFrame(history=asked))
            before = page.entries[0][1] if page.more and page.entries else 0
