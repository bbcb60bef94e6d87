"""A device on a bare TCP connection, made to be held by the thousand: it shows, acknowledges, sends, and comes back.

It keeps the rules of docs/protocol.md that matter here: the back-off of the welcome with full jitter, addresses and
delays of goodbyes, inbox numbers in order without gaps (what is missing is synced), sends repeated with their client
id until they are answered.

Guarantees: `show` is called once per message, in the order of the inbox.
Does not know: large groups, and how many of its kind there are.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tidings_protocol.client_pb2 import (
    Ack,
    ClientFrame,
    Content,
    Entry,
    Goodbye,
    Hello,
    History,
    Message,
    Ping,
    Send,
    Sent,
    ServerFrame,
    Sync,
)

OPEN_S = 10.0
ANSWER_S = 10.0
GAP_S = 0.5
ACK_S = 0.5
AVOID_S = 30.0
OVERLOADED = 4003
FINAL = 4500


class Gone(Exception):
    """The connection ended."""


@dataclass(slots=True)
class Tally:
    """What a crowd of devices saw, by second of the monotonic clock where it says so."""

    connects: Counter[int] = field(default_factory=Counter)  # connections tried
    welcomes: dict[str, Counter[int]] = field(default_factory=dict)  # by node
    goodbyes: Counter[int] = field(default_factory=Counter)  # by code
    refused: int = 0  # connections that could not be opened
    lost: int = 0  # connections that ended without a goodbye
    synced: int = 0  # syncs after a welcome
    round_trips: list[float] = field(default_factory=list)  # from hello to welcome, in seconds
    back_after: list[float] = field(default_factory=list)  # from the loss of a connection to the next welcome


@dataclass(slots=True)
class Draft:
    """A send without an outcome."""

    conversation: str
    body: str
    sent_at: float = -1.0
    not_before: float = 0.0


@dataclass(slots=True)
class RawDevice:
    """`run` it in a task. `told` is called for what came of a send, `show` for each message."""

    user: str
    name: str
    token: str
    addresses: Sequence[str]
    rng: random.Random
    dials: asyncio.Semaphore
    tally: Tally
    show: Callable[[RawDevice, Message], None]
    told: Callable[[RawDevice, str, Sent], None]
    cursor: int = 0
    head: int = 0
    epoch: str = ""
    node: str = ""
    drafts: dict[str, Draft] = field(default_factory=dict)
    ended: str = ""
    avoid: dict[str, float] = field(default_factory=dict)  # addresses that could not be reached, until when
    welcomes: int = 0
    _ahead: dict[int, Message | None] = field(default_factory=dict)
    _backoff: tuple[float, float, float] = (0.5, 20.0, 2.0)
    _failures: int = 0
    _writer: asyncio.StreamWriter | None = None
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _sends: dict[int, str] = field(default_factory=dict)
    _pages: dict[int, asyncio.Future[ServerFrame]] = field(default_factory=dict)
    _heartbeat_s: float = 15.0
    _last_sent: float = 0.0
    _acked: int = 0
    _acked_at: float = 0.0
    _gap_at: float = 0.0
    _syncing: int = 0
    _lost_at: float = 0.0

    @property
    def online(self) -> bool:
        return bool(self.node)

    @property
    def away_s(self) -> float:
        """How long it has been without a session."""
        return 0.0 if self.online else time.monotonic() - self._lost_at

    @property
    def settled(self) -> bool:
        return self.online and not self.drafts and self.cursor >= self.head

    def post(self, conversation: str, client_id: str, body: str) -> None:
        """It is sent now or when there is a session, and again until it is answered."""
        self.drafts[client_id] = Draft(conversation, body)
        if self.online:
            self._send_drafts()

    async def run(self) -> None:
        address, wait_s = "", 0.0
        while not self.ended:
            if wait_s:
                await asyncio.sleep(wait_s)
            address, wait_s = await self._live(address or self._any_address())

    def _any_address(self) -> str:
        now = time.monotonic()
        good = [address for address in self.addresses if self.avoid.get(address, 0.0) <= now]
        return self.rng.choice(good or list(self.addresses))

    async def history(self, conversation: str) -> list[Message]:
        """The whole conversation. Raises Gone or TimeoutError."""
        found: list[Message] = []
        after, more = 0, True
        while more:
            frame = await self._ask(ClientFrame(history=History(conversation=conversation, after=after, limit=200)))
            found += [entry.message for entry in frame.page.entries]
            after, more = frame.page.next, frame.page.more
        return found

    async def inbox(self) -> tuple[int, list[tuple[int, Message]]]:
        """The head and all entries. Raises Gone or TimeoutError."""
        found: list[tuple[int, Message]] = []
        after, more, head = 0, True, 0
        while more:
            page = (await self._ask(ClientFrame(sync=Sync(after=after, limit=500)))).page
            found += [(entry.number, entry.message) for entry in page.entries]
            after, more, head = page.next, page.more, page.head
        return head, found

    def look(self) -> None:
        """Once in a while: heartbeat, acknowledgement, sends and syncs that are due."""
        if not self.online:
            return
        now = time.monotonic()
        if self.cursor > self._acked and now - self._acked_at >= ACK_S:
            self._acked, self._acked_at = self.cursor, now
            self._write(ClientFrame(ack=Ack(number=self.cursor)))
        if now - self._last_sent >= self._heartbeat_s:
            self.ping()
        if self.head > self.cursor:
            self._gap_at = self._gap_at or now
            if now - self._gap_at >= GAP_S and not self._syncing:
                self._sync()
        else:
            self._gap_at = 0.0
        self._send_drafts()

    def ping(self) -> None:
        if self.online:
            self._write(ClientFrame(ping=Ping()))

    # ---- one connection

    async def _live(self, address: str) -> tuple[str, float]:
        """From the connection's opening to its end: where to go next ("": anywhere), and when."""
        host, _, port = address.rpartition(":")
        async with self.dials:
            self.tally.connects[int(time.monotonic())] += 1
            try:
                async with asyncio.timeout(OPEN_S):
                    reader, self._writer = await asyncio.open_connection(host, int(port), limit=16_384)
            except (OSError, TimeoutError):
                self.tally.refused += 1
                self.avoid[address] = time.monotonic() + AVOID_S
                return "", self._delay_s()
            self._greet()
        goodbye: Goodbye | None = None
        try:
            goodbye = await self._listen(reader)
        except (OSError, EOFError, TimeoutError):
            self.tally.lost += 1
        finally:
            self._close()
        return self._after(goodbye)

    def _greet(self) -> None:
        hello = Hello(
            token=self.token,
            device=self.name,
            kind=Hello.MOBILE,
            cursor=self.cursor,
            epoch=self.epoch,
            client="crowd/1",
            avoid=[address for address, until in self.avoid.items() if until > time.monotonic()],
        )
        self._write(ClientFrame(id=next(self._ids), hello=hello))

    async def _listen(self, reader: asyncio.StreamReader) -> Goodbye | None:
        """Takes in what comes; the goodbye, if there is one."""
        async with asyncio.timeout(ANSWER_S) as limit:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                frame = ServerFrame.FromString(await reader.readexactly(size))
                limit.reschedule(None)
                if frame.WhichOneof("body") == "goodbye":
                    return frame.goodbye
                self._take(frame)

    def _take(self, frame: ServerFrame) -> None:
        match frame.WhichOneof("body"):
            case "welcome":
                self._welcome(frame)
            case "deliver":
                self._entries(frame.deliver.entries)
            case "sent":
                self._sent(frame)
            case "page":
                self._page(frame)
            case "pong":
                self.head = max(self.head, frame.pong.inbox_head)
            case "lagging":
                self.head = max(self.head, frame.lagging.inbox_head)
                if not self._syncing:
                    self._sync()
            case "error":
                self._error(frame)
            case _:
                pass

    def _welcome(self, frame: ServerFrame) -> None:
        now, welcome = time.monotonic(), frame.welcome
        self.node = welcome.node
        self.welcomes += 1
        self.tally.welcomes.setdefault(self.node, Counter())[int(now)] += 1
        self.tally.round_trips.append(now - self._last_sent)
        if self._lost_at:
            self.tally.back_after.append(now - self._lost_at)
            self._lost_at = 0.0
        self.epoch, self.head = welcome.epoch, max(self.head, welcome.inbox_head)
        self._heartbeat_s = float(welcome.heartbeat_s or 30)
        told = welcome.backoff
        self._backoff = (told.base_ms / 1000, told.max_ms / 1000, told.factor or 2.0)
        self._failures = 0
        if welcome.reset:
            self.ended = "the server said reset: its data are not those of before"
        if self.cursor < welcome.inbox_head:
            self.tally.synced += 1
            self._sync()
        self._send_drafts()

    def _sent(self, frame: ServerFrame) -> None:
        client_id = self._sends.pop(frame.id, "")
        if self.drafts.pop(client_id, None) is not None:
            self.told(self, client_id, frame.sent)
            self._send_drafts()
        if frame.sent.number:
            self._hold(frame.sent.number, None)

    def _error(self, frame: ServerFrame) -> None:
        client_id = self._sends.pop(frame.id, "")
        draft = self.drafts.get(client_id)
        if draft is not None:
            draft.sent_at = -1.0
            draft.not_before = time.monotonic() + max(0.1, frame.error.retry_after_ms / 1000)
            if not frame.error.retry_after_ms:
                self.ended = f"a send was refused: {frame.error.code} {frame.error.message}"
        elif frame.id == self._syncing:
            self._syncing, self._gap_at = 0, time.monotonic()
        elif frame.id in self._pages:
            self._answer(frame)

    def _page(self, frame: ServerFrame) -> None:
        if frame.id != self._syncing:
            self._answer(frame)
            return
        self._syncing = 0
        self._entries(frame.page.entries)
        self.head = max(self.head, frame.page.head)
        if frame.page.more:
            self._sync()

    def _answer(self, frame: ServerFrame) -> None:
        future = self._pages.get(frame.id)
        if future is not None and not future.done():
            future.set_result(frame)

    def _entries(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._hold(entry.number, entry.message)

    def _hold(self, number: int, message: Message | None) -> None:
        """In order of the numbers, each once. None: this device sent it."""
        self.head = max(self.head, number)
        if number <= self.cursor:
            return
        self._ahead.setdefault(number, message)
        while (self.cursor + 1) in self._ahead:
            self.cursor += 1
            shown = self._ahead.pop(self.cursor)
            if shown is not None:
                self.show(self, shown)

    def _sync(self) -> None:
        self._syncing = next(self._ids)
        self._write(ClientFrame(id=self._syncing, sync=Sync(after=self.cursor, limit=100)))

    def _send_drafts(self) -> None:
        """The oldest, when it is due: the next waits for its outcome, so that no retry can change their order."""
        client_id = next(iter(self.drafts), None)
        if client_id is None:
            return
        draft, now = self.drafts[client_id], time.monotonic()
        waits = draft.sent_at >= 0 and now - draft.sent_at < ANSWER_S
        if waits or draft.not_before > now:
            return
        draft.sent_at = now
        frame_id = next(self._ids)
        self._sends[frame_id] = client_id
        send = Send(client_id=client_id, conversation=draft.conversation, content=Content(text=draft.body))
        self._write(ClientFrame(id=frame_id, send=send))

    async def _ask(self, frame: ClientFrame) -> ServerFrame:
        frame.id = next(self._ids)
        self._pages[frame.id] = asyncio.get_running_loop().create_future()
        try:
            if not self.online:
                raise Gone
            self._write(frame)
            async with asyncio.timeout(ANSWER_S):
                answer = await self._pages[frame.id]
        finally:
            del self._pages[frame.id]
        if answer.WhichOneof("body") == "error":
            raise Gone(answer.error.message)
        return answer

    def _write(self, frame: ClientFrame) -> None:
        assert self._writer is not None
        self._last_sent = time.monotonic()
        data = frame.SerializeToString()
        with suppress(RuntimeError):  # the end has come, and is about to be read
            self._writer.write(len(data).to_bytes(4, "big") + data)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        if self.online:
            self._lost_at = time.monotonic()
        self._writer, self.node, self._syncing, self._gap_at, self._acked = None, "", 0, 0.0, 0
        self._sends.clear()
        for draft in self.drafts.values():
            draft.sent_at = -1.0

    def _after(self, goodbye: Goodbye | None) -> tuple[str, float]:
        if goodbye is None:
            return "", self._delay_s()
        self.tally.goodbyes[goodbye.code] += 1
        if goodbye.code >= FINAL:
            self.ended = f"goodbye {goodbye.code}: {goodbye.message}"
        if goodbye.code == OVERLOADED:
            return "", max(goodbye.retry_after_ms / 1000, self._delay_s())
        return goodbye.address, goodbye.retry_after_ms / 1000

    def _delay_s(self) -> float:
        """Full jitter over an interval that grows."""
        base_s, max_s, factor = self._backoff
        self._failures += 1
        return self.rng.uniform(0, min(max_s, base_s * factor ** (self._failures - 1)))
