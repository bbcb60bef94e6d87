"""That events outlive nodes: each node says how far it is, and whoever is next looks what one that is gone has left.

    position ──▶ (BEAT_S: what was being stored then has come to the feed) ──▶ told ──▶ written, as the heartbeat
    a heartbeat of a boot that is not alive ──▶ what was written since its position ──▶ loaded here, if owned ──▶ told

Quiet conversations of a node that died are loaded by nobody else. A node that starts finds what the cluster left behind
when it ended as a whole.

Guarantees: a heartbeat is never ahead of what is told, here or by the dead whose slots this node may have; so a node
that dies while it looks leaves enough for the next one to look again. If the database does not remember that far back,
all conversations are looked at. What the queue had no room for is loaded again here.
Does not know: how events are published (feed.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.common.clock import Clock
from services.common.scope import TaskScope
from services.common.telemetry import logs, metrics
from services.storage.events.feed import EventFeed
from services.storage.memory.conversation import CachedConversation
from services.storage.owners.peers import StoragePeers
from services.storage.repository.contract import Repository
from services.storage.repository.records import ConversationDocument, Heartbeat, Span
from tidings_protocol.errors import Overloaded, TidingsError, Unavailable
from tidings_protocol.ids import slot_of

# Longer than a batch is tried to be stored.
BEAT_S = 3.0
# So long the heartbeat of a dead boot is kept, for nodes that get its slots only later.
KEPT_S = 600.0
PAGE = 100
OWED_INTERVAL_S = 0.5
WAITING_MAX = 100

Loaded = Mapping[str, CachedConversation | TidingsError]

log = logs.get_logger(__name__)


@dataclass(slots=True)
class Dead:
    """A boot that is not alive. `mark`: of the queue, when all that it may have left was found; None: not yet."""

    position: int
    since_s: float
    mark: int | None = None


class Heartbeats:
    """`begin` before anything is stored. `load`: has conversations in memory, which tells the feed of them."""

    def __init__(
        self,
        repository: Repository,
        feed: EventFeed,
        peers: StoragePeers,
        load: Callable[[Sequence[str]], Awaitable[Loaded]],
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._feed = feed
        self.queue = feed.queue
        self._peers = peers
        self._load = load
        self._boot_id = ""
        self._clock = clock
        self._said = ""  # the boot id of the last heartbeat
        self._position = 0  # what it said
        self._waiting: deque[tuple[int, int]] = deque()  # (position, mark)
        self._before = 0  # the position of the beat before
        self._dead: dict[str, Dead] = {}
        self._slots_moved = 0  # how often

    async def begin(self) -> None:
        """Notes where the database is; this node has stored nothing before. Raises Unavailable."""
        self._position = self._before = await self._repository.feed.position()

    @asynccontextmanager
    async def running(self, boot_id: Callable[[], str]) -> AsyncIterator[None]:
        """It beats, and what is owed is paid, until this is left."""
        async with TaskScope() as scope:
            scope.spawn(self.run(boot_id), name="heartbeats")
            scope.spawn(self.pay(), name="owed events")
            yield

    def shown(self) -> Mapping[str, float]:
        """How far it is, for /debug/state."""
        return {"waiting": len(self.queue), "owed": self.queue.owed, "behind_s": self._feed.behind_s}

    async def run(self, boot_id: Callable[[], str]) -> None:
        """Beats until it is cancelled; `boot_id`: of this node now."""
        while True:
            try:
                await self.beat(boot_id())
            except TidingsError as error:
                log.warning("how far events are told cannot be said yet", reason=error.message)
            await asyncio.sleep(BEAT_S)

    async def pay(self) -> None:
        """Has what is owed loaded, when there is room for it. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(OWED_INTERVAL_S)
            await self.pay_once()

    async def leave(self) -> None:
        """Takes the heartbeat away, if nothing is left to be told; else it stays, and others look."""
        if (
            not self._said
            or not self.queue.is_told(self.queue.mark)
            or not all(map(self._is_done, self._dead.values()))
        ):
            return
        try:
            await self._repository.feed.forget([self._said])
        except TidingsError as error:
            log.warning("the heartbeat stays, and others will look what is left", reason=error.message)

    def ring_changed(self) -> None:
        """Slots moved: what the dead have left in them may be this node's by now."""
        self._slots_moved += 1
        for each in self._dead.values():
            each.mark = None

    async def beat(self, boot_id: str) -> None:
        """Looks once who is dead and what they left, and says how far this node is. Raises Unavailable."""
        self._boot_id = boot_id
        self._note_position(await self._repository.feed.position())
        await self._find_dead()
        await self._say()
        metrics.EVENTS_BEHIND_SECONDS.set(self._feed.behind_s)
        metrics.EVENTS_BEHIND.set(len(self.queue) + self.queue.owed)
        await self._look_back()

    async def pay_once(self) -> None:
        """Has a page of what is owed loaded."""
        if ids := self.queue.take_owed(PAGE):
            self.queue.owe_again(await self._load_page(ids))
        self.queue.found()

    # ---- how far this node is

    def _note_position(self, position: int) -> None:
        """What was written before the position of the last beat has come to the feed by now, or failed."""
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.pop()  # while Kafka is away: the oldest say enough
        self._waiting.append((self._before, self.queue.mark))
        self._before = position
        while self._waiting and self.queue.is_told(self._waiting[0][1]):
            self._position = self._waiting.popleft()[0]

    async def _say(self) -> None:
        boot_id = self._boot_id
        open_ = (each.position for each in self._dead.values() if not self._is_done(each))
        await self._repository.feed.beat(Heartbeat(boot_id, min([self._position, *open_])))
        if self._said not in {"", boot_id}:
            await self._repository.feed.forget([self._said])  # this process goes on under another name
        self._said = boot_id

    # ---- what others left

    async def _find_dead(self) -> None:
        alive = self._peers.live_boots()
        if alive is None:
            return
        own = {self._boot_id, self._said}
        there = {each.boot_id: each.position for each in await self._repository.feed.heartbeats()}
        for boot_id, position in there.items():
            if boot_id not in alive | own and boot_id not in self._dead:
                log.info("a storage node is gone: what it has not told is looked for", boot=boot_id)
                self._dead[boot_id] = Dead(position, self._clock.now_s())
        for boot_id, each in list(self._dead.items()):
            if boot_id in alive or (boot_id not in there and self._is_done(each)):
                del self._dead[boot_id]
        old = [boot_id for boot_id, each in self._dead.items() if self._is_done(each) and self._is_old(each)]
        if old:
            await self._repository.feed.forget(old)

    async def _look_back(self) -> None:
        """Has loaded what may not be told, by the dead, or by this node while it had no room."""
        unseen, lost = [each for each in self._dead.values() if each.mark is None], self.queue.lost
        if not unseen and not lost:
            return
        slots = self._slots_moved
        await self._load_since(min([each.position for each in unseen] + ([self._position] if lost else [])))
        if self.queue.lost == lost:
            self.queue.lost = 0
        if self._slots_moved == slots:
            for each in unseen:
                each.mark = self.queue.mark

    async def _load_since(self, position: int) -> None:
        written = await self._repository.feed.written_after(position)
        if written is None:
            log.warning("the database does not remember so far back: all conversations are looked at")
            await self._walk()
            return
        await self._load_all([key for key in sorted(written) if self._owns(key)])

    async def _walk(self) -> None:
        """Looks at all conversations that this node owns, whether their log goes on after what is told."""
        last = ""
        while documents := await self._repository.conversations.after(last, PAGE):
            last = documents[-1].conversation
            owned = [each for each in documents if self._owns(each.conversation)]
            spans = [Span(each.conversation, each.told, limit=1) for each in owned]
            pages = await self._repository.messages.pages(spans, content=False)
            await self._load_all(
                [each.conversation for each, page in zip(owned, pages, strict=True) if page or _has_changed(each)]
            )

    async def _load_all(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), PAGE):
            self.queue.owe_again(await self._load_page(ids[start : start + PAGE]))

    async def _load_page(self, ids: Sequence[str]) -> list[str]:
        """Has these in memory, and the feed know of them; those that cannot be had."""
        try:
            loaded = await self._load(ids)
        except TidingsError:
            return list(ids)
        self._feed.loaded(each for each in loaded.values() if isinstance(each, CachedConversation))
        return [key for key, each in loaded.items() if isinstance(each, Unavailable | Overloaded)]

    def _is_done(self, dead: Dead) -> bool:
        return dead.mark is not None and self.queue.is_told(dead.mark)

    def _is_old(self, dead: Dead) -> bool:
        return self._clock.now_s() - dead.since_s > KEPT_S

    def _owns(self, key: str) -> bool:
        return self._peers.owner_of(slot_of(key)) is None


def _has_changed(document: ConversationDocument) -> bool:
    """Whether it may have changes without notices that are not told."""
    return document.large_from > 0 and document.stamp > document.told_stamp
