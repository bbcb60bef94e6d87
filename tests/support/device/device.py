"""A client device that never gives up, as small as the protocol allows: it sends, repairs gaps, reconnects, and
writes a history.

It runs on any pipe of frames (a simulated one, or a real socket) and on any clock of asyncio. It is a second
implementation of a client, written from docs/protocol.md: what it gets wrong the project's own client may get right,
and the other way round.

Rules: sends stay pending until `sent`; after a reconnect all that is pending is posted again, in order, with the same
client ids; a refusal with a retry time is posted again after it. The cursor is the highest number below which all is
held; a gap is waited for a moment, then synced; heads of a pong, of a welcome, of `lagging` beyond the cursor are
synced. Groups with cursors are read by history. Each login has a higher number than the one before.

Does not know: nodes; where to connect is `dial`'s business.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.support.histories.history import Acknowledged, Dismissed, History, Inbox, Posted, Read, Received, Stored
from tidings_protocol.client_pb2 import (
    Ack,
    ClientFrame,
    Content,
    Entry,
    Goodbye,
    GroupRequest,
    Hello,
    Message,
    Page,
    Ping,
    Pong,
    Send,
    Sent,
    ServerFrame,
    Sync,
    Welcome,
)
from tidings_protocol.client_pb2 import (
    History as HistoryRequest,
)

GAP_S = 0.4  # a number may come a little before the one below it: own sends and deliveries travel apart
ACK_S = 0.2
TICK_S = 0.1
ANSWER_S = 8.0
PROTOCOL = 11
REPLACED = 4501
BACKOFF_S = (0.05, 1.0)


class Pipe(Protocol):
    """A connection that carries frames; None means that the other side ended it."""

    async def send(self, frame: ClientFrame) -> None: ...
    async def receive(self) -> ServerFrame | None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Hint:
    """What the last goodbye said about where to go: an address ("" = anywhere) and nodes to avoid."""

    address: str = ""
    avoid: tuple[str, ...] = ()


Dial = Callable[[Hint], Awaitable[Pipe]]


class Gone(Exception):
    """The connection ended."""


@dataclass(slots=True)
class Pending:
    """A send that nobody has acknowledged."""

    client_id: str
    conversation: str
    body: str
    posted_at: float = -1.0  # on the present connection; below 0: not yet
    not_before: float = 0.0


@dataclass(slots=True)
class Device:
    """One device of one user. `run` it in a task; `post` sends; `settle` waits until nothing is open any more."""

    user: str
    name: str
    token: Callable[[], str]
    dial: Dial
    history: History
    rng: random.Random
    kind: Hello.Kind.ValueType = Hello.MOBILE
    cursor: int = 0
    epoch: str = ""
    head: int = 0
    group_cursors: dict[str, int] = field(default_factory=dict)
    attempt: int | None = 0  # of the last login; None: a client of before, which does not number them
    obeys: bool = False  # a login that is told that another one is newer stays away, as clients do
    is_replaced: bool = False
    acknowledged: int = 0
    goodbyes: list[int] = field(default_factory=list)
    _pending: dict[str, Pending] = field(default_factory=dict)
    _held: set[int] = field(default_factory=set)
    _group_heads: dict[str, int] = field(default_factory=dict)
    _client_ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _connections: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _link: Link | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _gap_since: float = -1.0

    # ---- what a test does with it

    def post(self, conversation: str, body: str) -> None:
        """Sends, and goes on sending until it is acknowledged."""
        pending = Pending(f"{self.name}-{next(self._client_ids)}", conversation, body)
        self._pending[pending.client_id] = pending
        self._changed.set()

    @property
    def settled(self) -> bool:
        """Nothing is pending, nothing is missing, as far as this device knows."""
        groups = all(self.group_cursors.get(group, 0) >= head for group, head in self._group_heads.items())
        return self._link is not None and not self._pending and self.cursor >= self.head and groups

    @property
    def state(self) -> str:
        """What is open, in words."""
        link = self._link.name if self._link else "not connected"
        groups = {group: (self.group_cursors.get(group, 0), head) for group, head in self._group_heads.items()}
        pending = list(self._pending)[:3]
        return f"{link}, {len(self._pending)} pending {pending}, cursor {self.cursor} of {self.head}, groups {groups}"

    async def settle(self) -> None:
        """Asks for the heads until all that they promise is held."""
        while True:
            with suppress(Gone, TimeoutError):
                if self._link is not None:
                    self._take_pong((await self._link.request(ping=Ping())).pong)
                    if self.settled:
                        return
            await asyncio.sleep(TICK_S)

    async def act(self, request: GroupRequest) -> ServerFrame:
        """Asks for a change of a group until somebody does it; doing it twice is harmless."""
        return await self._asked("group_info", "ok", group=request)

    async def run(self) -> None:
        """Connects again and again, for ever, or until it obeys."""
        hint, wait_s = Hint(), BACKOFF_S[0]
        while not self.is_replaced:
            try:
                hint = await self._live(hint)
                wait_s = BACKOFF_S[0]
            except (OSError, Gone, TimeoutError):
                hint, wait_s = Hint(), min(2 * wait_s, BACKOFF_S[1])
            await asyncio.sleep(self.rng.uniform(0, wait_s))

    async def read(self, conversation: str) -> None:
        """Reads a whole conversation into the history."""
        messages: list[Stored] = []
        after = 0
        while True:
            page = await self._page(history=HistoryRequest(conversation=conversation, after=after, limit=200))
            messages += [stored(entry.message) for entry in page.entries]
            after = page.next
            if not page.more:
                break
        self.history.add(Read(self.user, conversation, tuple(messages)))

    async def read_inbox(self) -> None:
        """Reads the user's whole inbox into the history."""
        entries: list[tuple[int, Stored]] = []
        after = 0
        while True:
            page = await self._page(sync=Sync(after=after, limit=500))
            entries += [(entry.number, stored(entry.message)) for entry in page.entries]
            after = page.next
            if not page.more:
                break
        self.history.add(Inbox(self.user, self.name, page.head, tuple(entries)))

    # ---- one connection

    async def _live(self, hint: Hint) -> Hint:
        pipe = await self.dial(hint)
        link = Link(pipe, f"{self.user}/{self.name}/{next(self._connections)}")
        try:
            async with asyncio.TaskGroup() as group:
                listener = group.create_task(self._listen(link), name=f"{link.name} listens")
                try:
                    await self._hello(link, hint)
                    self._link = link
                    await self._work(link)
                finally:
                    self._link = None
                    listener.cancel()
        except* (Gone, TimeoutError, OSError):
            pass
        finally:
            for pending in self._pending.values():
                pending.posted_at = -1.0
            await pipe.close()
        return self._after(link)

    def _after(self, link: Link) -> Hint:
        goodbye = link.goodbye
        if goodbye is None:
            return Hint()
        self.goodbyes.append(goodbye.code)
        if goodbye.code == REPLACED and self.obeys:
            self.is_replaced = True
        elif goodbye.code == REPLACED and self.attempt is not None:
            # It goes on all the same: what it misses from now on would hide what is wrong.
            self.history.add(Dismissed(self.user, self.name, link.name))
        return Hint(address=goodbye.address)

    async def _hello(self, link: Link, hint: Hint) -> None:
        if self.attempt is not None:
            self.attempt += 1
        reply = await link.request(
            hello=Hello(
                token=self.token(),
                device=self.name,
                kind=self.kind,
                cursor=self.cursor,
                epoch=self.epoch,
                client="wire/1",
                group_cursors=self.group_cursors,
                avoid=hint.avoid,
                protocol=PROTOCOL,
                attempt=self.attempt or 0,
            )
        )
        welcome: Welcome = reply.welcome
        if welcome.reset:
            self.cursor, self._held = 0, set()
            self.group_cursors.clear()
        self.epoch = welcome.epoch
        self.head = max(self.head, welcome.inbox_head)
        self._note_group_heads(dict(welcome.group_heads))
        link.heartbeat_s = welcome.heartbeat_s

    async def _listen(self, link: Link) -> None:
        while (frame := await link.pipe.receive()) is not None:
            link.last_heard = now()
            match frame.WhichOneof("body"):
                case "deliver":
                    self._take_entries(frame.deliver.entries)
                case "goodbye":
                    link.goodbye = frame.goodbye
                case "lagging":
                    self.head = max(self.head, frame.lagging.inbox_head)
                    self._changed.set()
                case _ if frame.id:
                    self._take_reply(link, frame)
                case _:
                    pass  # receipts, presence, signals: not this device's interest
        raise Gone

    async def _work(self, link: Link) -> None:
        """Posts, syncs, acknowledges and pings, until the connection ends."""
        while True:
            self._changed.clear()
            await self._post_pending(link)
            await self._catch_up(link)
            await self._acknowledge(link)
            if now() - link.last_sent >= link.heartbeat_s:
                self._take_pong((await link.request(ping=Ping())).pong)
            late = any(0 <= pending.posted_at < now() - ANSWER_S for pending in self._pending.values())
            if late or link.is_dead:
                raise Gone  # half open, or the answer was lost with its node
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._changed.wait()

    async def _post_pending(self, link: Link) -> None:
        for pending in list(self._pending.values()):
            if pending.posted_at >= 0 or pending.not_before > now():
                continue
            pending.posted_at = now()
            frame_id = next(link.ids)
            link.sends[frame_id] = pending
            self.history.add(Posted(link.name, frame_id, self.user, pending.conversation, pending.client_id))
            send = Send(
                client_id=pending.client_id, conversation=pending.conversation, content=Content(text=pending.body)
            )
            await link.send(ClientFrame(id=frame_id, send=send))

    async def _catch_up(self, link: Link) -> None:
        gap = bool(self._held) or self.cursor < self.head
        if not gap:
            self._gap_since = -1.0
        elif self._gap_since < 0:
            self._gap_since = now()
        elif now() - self._gap_since >= GAP_S:
            self._gap_since = -1.0
            while True:
                page = (await link.request(sync=Sync(after=self.cursor, limit=100))).page
                self._take_page(page)
                if not page.more:
                    break
        for group, head in list(self._group_heads.items()):
            while self.group_cursors.get(group, 0) < head:
                after = self.group_cursors.get(group, 0)
                page = (await link.request(history=HistoryRequest(conversation=group, after=after, limit=100))).page
                self._take_entries(page.entries)
                # Also past what this user may not read: from before the joining.
                self.group_cursors[group] = max(after, page.next, self.group_cursors.get(group, 0))
                if not page.entries:
                    break

    async def _acknowledge(self, link: Link) -> None:
        if self.cursor > link.acked and now() - link.acked_at >= ACK_S:
            link.acked, link.acked_at = self.cursor, now()
            await link.send(ClientFrame(ack=Ack(number=self.cursor)))

    async def _page(self, **body: Any) -> Page:
        return (await self._asked("page", **body)).page

    async def _asked(self, *wanted: str, **body: Any) -> ServerFrame:
        """The answer, over however many connections it takes."""
        while True:
            with suppress(Gone, TimeoutError):
                if self._link is not None:
                    reply = await self._link.request(**body)
                    if reply.WhichOneof("body") in wanted:
                        return reply
                    if reply.error.code not in {"UNAVAILABLE", "OVERLOADED"}:
                        raise AssertionError(f"{self.user} asked for {body} and was told {reply.error}")
            await asyncio.sleep(TICK_S)

    # ---- what came

    def _take_reply(self, link: Link, frame: ServerFrame) -> None:
        pending = link.sends.pop(frame.id, None)
        if pending is None:
            link.answer(frame)
        elif frame.WhichOneof("body") == "sent":
            self._take_sent(link, frame.id, pending, frame.sent)
        else:
            assert frame.error.retry_after_ms, f"a send of {self.user} was refused for good: {frame.error}"
            pending.posted_at, pending.not_before = -1.0, now() + frame.error.retry_after_ms / 1000

    def _take_sent(self, link: Link, frame_id: int, pending: Pending, sent: Sent) -> None:
        self._pending.pop(pending.client_id, None)
        self.acknowledged += 1
        self.history.add(
            Acknowledged(
                connection=link.name,
                frame=frame_id,
                user=self.user,
                conversation=sent.conversation,
                client_id=sent.client_id,
                seq=sent.seq,
                message_id=sent.message_id,
                time_ms=sent.time_ms,
                duplicate=sent.duplicate,
            )
        )
        if sent.number:
            self._hold(sent.number)

    def _take_entries(self, entries: Any) -> None:
        entry: Entry
        for entry in entries:
            message = stored(entry.message)
            self.history.add(Received(self.user, self.name, entry.number, message))
            if entry.number:
                self._hold(entry.number)
            elif message.seq == self.group_cursors.get(message.conversation, 0) + 1:
                self.group_cursors[message.conversation] = message.seq
            elif message.seq > self.group_cursors.get(message.conversation, 0):
                self._note_group_heads({message.conversation: message.seq})

    def _take_page(self, page: Page) -> None:
        self._take_entries(page.entries)
        self.cursor = max(self.cursor, page.next)
        self.head = max(self.head, page.head)
        self._settle_held()

    def _take_pong(self, pong: Pong) -> None:
        self.head = max(self.head, pong.inbox_head)
        self._note_group_heads(dict(pong.group_heads))

    def _note_group_heads(self, heads: dict[str, int]) -> None:
        for group, head in heads.items():
            self._group_heads[group] = max(head, self._group_heads.get(group, 0))
        if heads:
            self._changed.set()

    def _hold(self, number: int) -> None:
        if number > self.cursor:
            self._held.add(number)
            self.head = max(self.head, number)
            self._settle_held()

    def _settle_held(self) -> None:
        self._held = {number for number in self._held if number > self.cursor}
        while self.cursor + 1 in self._held:
            self.cursor += 1
            self._held.remove(self.cursor)
        self._changed.set()


class Link:
    """One connection of a device: its ids and its open requests."""

    def __init__(self, pipe: Pipe, name: str) -> None:
        self.pipe = pipe
        self.name = name
        self.ids = itertools.count(1)
        self.sends: dict[int, Pending] = {}
        self.goodbye: Goodbye | None = None
        self.is_dead = False
        self.heartbeat_s = 15.0
        self.last_sent = self.last_heard = now()
        self.acked = 0
        self.acked_at = 0.0
        self._open: dict[int, asyncio.Future[ServerFrame]] = {}

    async def send(self, frame: ClientFrame) -> None:
        self.last_sent = now()
        await self.pipe.send(frame)

    async def request(self, **body: Any) -> ServerFrame:
        """The reply, whatever it is; Gone or TimeoutError if none comes."""
        frame = ClientFrame(id=next(self.ids), **body)
        self._open[frame.id] = asyncio.get_running_loop().create_future()
        try:
            await self.send(frame)
            async with asyncio.timeout(ANSWER_S):
                return await self._open[frame.id]
        except TimeoutError:
            self.is_dead = True  # half open: nobody is at the other end
            raise
        finally:
            del self._open[frame.id]

    def answer(self, frame: ServerFrame) -> None:
        future = self._open.get(frame.id)
        if future is not None and not future.done():
            future.set_result(frame)


def now() -> float:
    return asyncio.get_running_loop().time()


def stored(message: Message) -> Stored:
    """A message as the history has it."""
    return Stored(
        conversation=message.conversation,
        seq=message.seq,
        message_id=message.message_id,
        sender=message.sender,
        client_id=message.client_id,
        body=message.content.text,
        act=message.content.data.decode() if message.kind == Message.SYSTEM else "",
    )
