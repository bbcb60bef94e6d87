"""A device on a bare TCP connection, made to be held by the thousand: it shows, acknowledges, sends, and comes back.

The rules are the core's; here are the sockets: the back-off of the welcome with full jitter, addresses and delays of
goodbyes, addresses to avoid.

Guarantees: `show` is called once per message, in the order of the inbox.
Does not know: how many of its kind there are.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.support.device.core import (
    Accepted,
    Answered,
    Backoff,
    DeviceCore,
    Event,
    Parted,
    Rejected,
    Restarted,
    Shown,
    whole_conversation,
    whole_inbox,
)
from tidings_protocol.client_pb2 import ClientFrame, Goodbye, Message, Page, Ping, Sent, ServerFrame, Welcome

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
class BareDevice:
    """`run` it in a task. `told` is called for what came of a send, `show` for each message."""

    user: str
    name: str
    token: str
    addresses: Sequence[str]
    rng: random.Random
    dials: asyncio.Semaphore
    tally: Tally
    show: Callable[[BareDevice, Message], None]
    told: Callable[[BareDevice, str, Sent], None]
    node: str = ""
    ended: str = ""
    avoid: dict[str, float] = field(default_factory=dict)  # addresses that could not be reached, until when
    welcomes: int = 0
    core: DeviceCore = field(init=False)
    _backoff: Backoff = field(default_factory=Backoff)
    _writer: asyncio.StreamWriter | None = None
    _pages: dict[int, asyncio.Future[ServerFrame]] = field(default_factory=dict)
    _greeted_at: float = 0.0
    _lost_at: float = 0.0

    def __post_init__(self) -> None:
        # One send at a time: the next waits for its outcome, so that no retry can change their order.
        self.core = DeviceCore(
            self.name,
            client="crowd/1",
            attempt=None,
            sends_at_once=1,
            gap_s=GAP_S,
            ack_s=ACK_S,
            answer_s=ANSWER_S,
        )

    @property
    def online(self) -> bool:
        return bool(self.node)

    @property
    def away_s(self) -> float:
        """How long it has been without a session."""
        return 0.0 if self.online else time.monotonic() - self._lost_at

    @property
    def settled(self) -> bool:
        return self.online and self.core.settled

    def post(self, conversation: str, client_id: str, body: str) -> None:
        """It is sent now or when there is a session, and again until it is answered."""
        self.core.post(client_id, conversation, body)
        self.look()

    async def run(self) -> None:
        address, wait_s = "", 0.0
        while not self.ended:
            if wait_s:
                await asyncio.sleep(wait_s)
            address, wait_s = await self._live(address or self._any_address())

    async def history(self, conversation: str) -> list[Message]:
        """The whole conversation. Raises Gone or TimeoutError."""
        return await whole_conversation(self._ask, conversation)

    async def inbox(self) -> tuple[int, list[tuple[int, Message]]]:
        """The head and all entries. Raises Gone or TimeoutError."""
        return await whole_inbox(self._ask)

    def look(self) -> None:
        """Once in a while, and after each frame: sends, syncs, acknowledgement and heartbeat that are due."""
        if self.online:
            for frame in self.core.due(time.monotonic()):
                self._write(frame)

    def ping(self) -> None:
        if self.online:
            self._write(self.core.request(time.monotonic(), ping=Ping()))

    # ---- one connection

    def _any_address(self) -> str:
        now = time.monotonic()
        good = [address for address in self.addresses if self.avoid.get(address, 0.0) <= now]
        return self.rng.choice(good or list(self.addresses))

    async def _live(self, address: str) -> tuple[str, float]:
        """Lives from the connection's opening to its end: where to go next ("": anywhere), and when."""
        host, _, port = address.rpartition(":")
        async with self.dials:
            now = time.monotonic()
            self.tally.connects[int(now)] += 1
            try:
                async with asyncio.timeout(OPEN_S):
                    reader, self._writer = await asyncio.open_connection(host, int(port), limit=16_384)
            except (OSError, TimeoutError):
                self.tally.refused += 1
                self.avoid[address] = time.monotonic() + AVOID_S
                return "", self._backoff.delay_s(self.rng)
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
        self._greeted_at = time.monotonic()
        avoid = [address for address, until in self.avoid.items() if until > self._greeted_at]
        self._write(self.core.hello(self.token, self._greeted_at, avoid))

    async def _listen(self, reader: asyncio.StreamReader) -> Goodbye | None:
        """Takes in what comes; the goodbye, if there is one."""
        async with asyncio.timeout(ANSWER_S) as limit:
            while True:
                size = int.from_bytes(await reader.readexactly(4), "big")
                frame = ServerFrame.FromString(await reader.readexactly(size))
                limit.reschedule(None)
                for event in self.core.receive(frame, time.monotonic()):
                    if isinstance(event, Parted):
                        return event.goodbye
                    self._note(event)
                self.look()

    def _note(self, event: Event) -> None:
        match event:
            case Shown(message):
                self.show(self, message)
            case Accepted(_, sent, is_first):
                if is_first:
                    self.told(self, sent.client_id, sent)
            case Rejected(_, error):
                self.ended = f"a send was refused: {error.code} {error.message}"
            case Restarted():
                self.ended = "the server said reset: its data are not those of before"
            case Answered(frame):
                self._answered(frame)
            case _:
                pass

    def _answered(self, frame: ServerFrame) -> None:
        if frame.WhichOneof("body") == "welcome":
            self._welcome(frame.welcome)
        future = self._pages.get(frame.id)
        if future is not None and not future.done():
            future.set_result(frame)

    def _welcome(self, welcome: Welcome) -> None:
        now = time.monotonic()
        self.node = welcome.node
        self.welcomes += 1
        self.tally.welcomes.setdefault(self.node, Counter())[int(now)] += 1
        self.tally.round_trips.append(now - self._greeted_at)
        if self._lost_at:
            self.tally.back_after.append(now - self._lost_at)
            self._lost_at = 0.0
        told = welcome.backoff
        self._backoff = Backoff(told.base_ms / 1000, told.max_ms / 1000, told.factor or 2.0)
        self.tally.synced += self.core.cursor < welcome.inbox_head

    async def _ask(self, frame: ClientFrame) -> Page:
        body = frame.WhichOneof("body") or ""
        frame = self.core.request(time.monotonic(), **{body: getattr(frame, body)})
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
        return answer.page

    def _write(self, frame: ClientFrame) -> None:
        assert self._writer is not None
        data = frame.SerializeToString()
        with suppress(RuntimeError):  # the end has come, and is about to be read
            self._writer.write(len(data).to_bytes(4, "big") + data)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        if self.online:
            self._lost_at = time.monotonic()
        self._writer, self.node = None, ""
        self.core.lost()

    def _after(self, goodbye: Goodbye | None) -> tuple[str, float]:
        if goodbye is None:
            return "", self._backoff.delay_s(self.rng)
        self.tally.goodbyes[goodbye.code] += 1
        if goodbye.code >= FINAL:
            self.ended = f"goodbye {goodbye.code}: {goodbye.message}"
        if goodbye.code == OVERLOADED:
            return "", max(goodbye.retry_after_ms / 1000, self._backoff.delay_s(self.rng))
        return goodbye.address, goodbye.retry_after_ms / 1000
