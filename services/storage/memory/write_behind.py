"""What is written behind: heads, watermarks, cursors, what devices hold, and when users were seen last. Every few
seconds, and at the end.

Guarantees: what moved is written at the next interval, or stays to be written as long as that fails; nothing goes back,
whoever writes in what order. A loss of all this costs no message: a load settles what is missing. What is lost of when
users were seen last stays lost.
Does not know: why something moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.common.clock import Clock
from services.common.telemetry import logs
from services.storage.memory.conversation import CachedConversation
from services.storage.repository.contract import Repository
from services.storage.repository.records import Acknowledged, MemberCursor, Watermark
from tidings_protocol.errors import TidingsError

# Updates of one command.
CHUNK = 500

log = logs.get_logger(__name__)


class WriteBehind:
    def __init__(self, repository: Repository, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock
        self._conversations: dict[CachedConversation, None] = {}  # a set in the order of coming
        self._held: dict[tuple[str, str], int] = {}
        self._seen: dict[str, int] = {}
        self._one_at_a_time = asyncio.Lock()

    @property
    def waiting(self) -> int:
        """How many conversations, devices and users have something to write."""
        return len(self._conversations) + len(self._held) + len(self._seen)

    def conversation(self, conversation: CachedConversation) -> None:
        """Notes the conversation, if it has something to write."""
        if conversation.is_dirty:
            self._conversations[conversation] = None

    def held(self, user: str, device: str, number: int) -> None:
        """Notes that a device holds its user's inbox up to this number."""
        key = (user, device)
        self._held[key] = max(self._held.get(key, 0), number)

    def seen(self, user: str, time_ms: int) -> None:
        """Notes that a user was seen at this time."""
        self._seen[user] = max(self._seen.get(user, 0), time_ms)

    def is_back(self, user: str) -> None:
        """Drops the note of when a user was seen last: a session that has begun since says more."""
        self._seen.pop(user, None)

    def seen_ms(self, user: str) -> int:
        """When the user was seen last, if that waits to be written; otherwise 0."""
        return self._seen.get(user, 0)

    async def run(self, interval_s: float) -> None:
        """Writes every `interval_s` seconds, until it is cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            await self.flush()

    async def flush(self) -> None:
        """Writes all that moved until now; what fails stays for the next time."""
        async with self._one_at_a_time:
            try:
                await self._write_conversations()
                await self._write_held()
                await self._write_seen()
            except TidingsError as error:
                log.warning("heads and cursors could not be written yet", error=error.message, waiting=self.waiting)

    async def _write_conversations(self) -> None:
        # What moves while this writes is for the next time: otherwise it would never come to an end.
        moved_now = list(self._conversations)
        for start in range(0, len(moved_now), CHUNK):
            part = moved_now[start : start + CHUNK]
            for each in part:
                self._conversations.pop(each, None)
            watermarks = [mark for each in part if (mark := each.take_watermark()) is not None]
            cursors = {each: each.take_cursors() for each in part}
            try:
                await self._advance(watermarks, [cursor for moved in cursors.values() for cursor in moved])
            except BaseException:
                for each, moved in cursors.items():
                    each.put_back(moved)
                    self._conversations[each] = None
                raise

    async def _advance(self, watermarks: Sequence[Watermark], cursors: Sequence[MemberCursor]) -> None:
        # Cursors first: when the watermark says that all is settled, the senders' read positions are there too.
        for start in range(0, len(cursors), CHUNK):
            await self._repository.members.advance(cursors[start : start + CHUNK])
        if watermarks:
            await self._repository.conversations.advance(watermarks)

    async def _write_held(self) -> None:
        held, self._held = self._held, {}
        numbers = [Acknowledged(user, device, number) for (user, device), number in held.items()]
        for start in range(0, len(numbers), CHUNK):
            try:
                await self._repository.users.acknowledge(numbers[start : start + CHUNK])
            except BaseException:
                for user, device, number in numbers[start:]:
                    self.held(user, device, number)
                raise

    async def _write_seen(self) -> None:
        seen = list(self._seen.items())
        for start in range(0, len(seen), CHUNK):
            part = dict(seen[start : start + CHUNK])
            await self._repository.users.seen(part)
            # Not before it is written: whoever asks meanwhile is told.
            for user, time_ms in part.items():
                if self._seen.get(user) == time_ms:
                    del self._seen[user]
