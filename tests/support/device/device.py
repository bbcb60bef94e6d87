"""A device that never gives up: the core on a pipe of frames and a clock of asyncio. It writes a history.

The pipe is a simulated one or a real socket, the clock virtual or real.

Does not know: the rules (core.py), and nodes; where to connect is `dial`'s business.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from tests.support.device.core import (
    REPLACED,
    Accepted,
    Answered,
    Arrived,
    Backoff,
    DeviceCore,
    Event,
    Parted,
    Rejected,
    whole_conversation,
    whole_inbox,
)
from tests.support.histories.history import (
    Acknowledged,
    Change,
    Dismissed,
    History,
    Inbox,
    Posted,
    Read,
    Received,
    State,
    Stored,
)
from tidings_protocol import client_pb2
from tidings_protocol.client_pb2 import (
    ClientFrame,
    Goodbye,
    GroupRequest,
    Hello,
    Message,
    Page,
    Ping,
    Sent,
    ServerFrame,
)

TICK_S = 0.1
ANSWER_S = 8.0
# A change may be refused for what others did to its target meanwhile.
REFUSALS = frozenset({"FORBIDDEN", "NOT_FOUND", "BAD_REQUEST"})


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
class Device:
    """One device of one user. `run` it in a task; `post` sends; `settle` waits until nothing is open any more."""

    user: str
    name: str
    token: Callable[[], str]
    dial: Dial
    history: History
    rng: random.Random
    kind: Hello.Kind.ValueType = Hello.MOBILE
    attempt: int | None = 0  # None: it does not number its logins, as clients of before
    obeys: bool = False  # a login that is told that another one is newer stays away, as clients do
    is_replaced: bool = False
    acknowledged: int = 0
    refused: int = 0  # changes that were not allowed
    known: list[tuple[str, int, str]] = field(default_factory=list)  # messages: conversation, seq, sender
    goodbyes: list[int] = field(default_factory=list)
    core: DeviceCore = field(init=False)
    _backoff: Backoff = field(default_factory=lambda: Backoff(0.05, 1.0))
    _client_ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _sends: set[str] = field(default_factory=set)
    _connections: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _link: Link | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.core = DeviceCore(self.name, kind=self.kind, attempt=self.attempt, patient=True, answer_s=ANSWER_S)

    # ---- what a test does with it

    def post(self, conversation: str, body: str) -> None:
        """Sends, and goes on sending until it is acknowledged."""
        client_id = f"{self.name}-{next(self._client_ids)}"
        self._sends.add(client_id)
        self.core.post(client_id, conversation, body)
        self._changed.set()

    def change(self, change: client_pb2.Change) -> None:
        """Changes a message, and goes on until it is answered; it may be refused."""
        self.core.change(f"{self.name}-{next(self._client_ids)}", change)
        self._changed.set()

    @property
    def settled(self) -> bool:
        """It is connected, and as far as it knows nothing is open or missing."""
        return self._link is not None and self.core.settled

    @property
    def state(self) -> str:
        """What is open, in words."""
        core = self.core
        link = self._link.name if self._link else "not connected"
        groups = {group: (core.group_cursors.get(group, 0), head) for group, head in core.group_heads.items()}
        pending = list(core.drafts)[:3]
        return f"{link}, {len(core.drafts)} pending {pending}, cursor {core.cursor} of {core.head}, groups {groups}"

    async def settle(self) -> None:
        """Asks for the heads until all that they promise is held."""
        while True:
            with suppress(Gone, TimeoutError):
                if self._link is not None:
                    await self._request(self._link, ping=Ping())
                    if self.settled:
                        return
            await asyncio.sleep(TICK_S)

    async def act(self, request: GroupRequest) -> ServerFrame:
        """Asks for a change of a group until somebody does it; doing it twice is harmless."""
        return await self._asked("group_info", "ok", group=request)

    async def react(self, conversation: str, seq: int, reaction: str, removes: bool, client_id: str) -> Sent:
        """Reacts to a message, or takes that back, until it is answered; doing it twice is harmless."""
        change = client_pb2.Change(client_id=f"{self.name}-{client_id}", conversation=conversation, seq=seq)
        if removes:
            change.unreact = reaction
        else:
            change.react = reaction
        return (await self._asked("sent", change=change)).sent

    async def run(self) -> None:
        """Connects again and again, for ever, or until it obeys."""
        hint = Hint()
        while not self.is_replaced:
            try:
                hint = await self._live(hint)
                self._backoff.failures = 0
            except (OSError, Gone, TimeoutError):
                hint = Hint()
            await asyncio.sleep(self._backoff.delay_s(self.rng))

    async def read(self, conversation: str) -> None:
        """Reads a whole conversation into the history."""
        messages = await whole_conversation(self._page, conversation)
        self.history.add(Read(self.user, conversation, tuple(map(stored, messages))))

    async def read_inbox(self) -> None:
        """Reads the user's whole inbox into the history."""
        head, entries = await whole_inbox(self._page)
        found = tuple((number, stored(message)) for number, message in entries)
        self.history.add(Inbox(self.user, self.name, head, found))

    # ---- one connection

    async def _live(self, hint: Hint) -> Hint:
        pipe = await self.dial(hint)
        link = Link(pipe, f"{self.user}/{self.name}/{next(self._connections)}")
        try:
            async with asyncio.TaskGroup() as group:
                listener = group.create_task(self._listen(link), name=f"{link.name} listens")
                try:
                    await self._answer_to(link, self.core.hello(self.token(), now(), hint.avoid))
                    self._link = link
                    await self._work(link)
                finally:
                    self._link = None
                    listener.cancel()
        except* (Gone, TimeoutError, OSError):
            pass
        finally:
            self.core.lost()
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

    async def _listen(self, link: Link) -> None:
        while (frame := await link.pipe.receive()) is not None:
            for event in self.core.receive(frame, now()):
                self._note(link, event)
            self._changed.set()
        raise Gone

    async def _work(self, link: Link) -> None:
        """Sends what is due, until the connection ends."""
        while True:
            self._changed.clear()
            if link.is_dead or self.core.is_late(now()):
                raise Gone
            for frame in self.core.due(now()):
                if (posted := _posted(link, self.user, frame)) is not None:
                    self.history.add(posted)
                await link.pipe.send(frame)
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._changed.wait()

    # ---- requests of its own

    async def _request(self, link: Link, **body: Any) -> ServerFrame:
        return await self._answer_to(link, self.core.request(now(), **body))

    async def _answer_to(self, link: Link, frame: ClientFrame) -> ServerFrame:
        """The reply, whatever it is; Gone or TimeoutError if none comes."""
        link.open[frame.id] = asyncio.get_running_loop().create_future()
        try:
            await link.pipe.send(frame)
            async with asyncio.timeout(ANSWER_S):
                return await link.open[frame.id]
        except TimeoutError:
            link.is_dead = True  # half open: nobody is at the other end
            raise
        finally:
            del link.open[frame.id]

    async def _page(self, asked: ClientFrame) -> Page:
        body = asked.WhichOneof("body") or ""
        return (await self._asked("page", **{body: getattr(asked, body)})).page

    async def _asked(self, *wanted: str, **body: Any) -> ServerFrame:
        """The answer, over however many connections it takes."""
        while True:
            with suppress(Gone, TimeoutError):
                if self._link is not None:
                    reply = await self._request(self._link, **body)
                    if reply.WhichOneof("body") in wanted:
                        return reply
                    if reply.error.code not in {"UNAVAILABLE", "OVERLOADED"}:
                        raise AssertionError(f"{self.user} asked for {body} and was told {reply.error}")
            await asyncio.sleep(TICK_S)

    # ---- what came

    def _note(self, link: Link, event: Event) -> None:
        match event:
            case Arrived(number, message):
                if message.kind == Message.NORMAL:
                    self.known.append((message.conversation, message.seq, message.sender))
                self.history.add(Received(self.user, self.name, number, stored(message)))
            case Accepted(frame, sent):
                self.acknowledged += 1
                if sent.seq and sent.client_id in self._sends:
                    self.known.append((sent.conversation, sent.seq, self.user))
                self.history.add(self._acknowledged(link, frame, sent))
            case Rejected(draft, error) if draft.change is not None and error.code in REFUSALS:
                self.refused += 1
            case Rejected(_, error):
                raise AssertionError(f"a send of {self.user} was refused for good: {error}")
            case Parted(goodbye):
                link.goodbye = goodbye
            case Answered(frame):
                link.answer(frame)
            case _:
                pass  # the checker has an order of its own, and sees a reset by what comes after it

    def _acknowledged(self, link: Link, frame: int, sent: Sent) -> Acknowledged:
        return Acknowledged(
            connection=link.name,
            frame=frame,
            user=self.user,
            conversation=sent.conversation,
            client_id=sent.client_id,
            seq=sent.seq,
            message_id=sent.message_id,
            time_ms=sent.time_ms,
            duplicate=sent.duplicate,
        )


class Link:
    """One connection of a device, and its open requests."""

    def __init__(self, pipe: Pipe, name: str) -> None:
        self.pipe = pipe
        self.name = name
        self.goodbye: Goodbye | None = None
        self.is_dead = False
        self.open: dict[int, asyncio.Future[ServerFrame]] = {}

    def answer(self, frame: ServerFrame) -> None:
        future = self.open.get(frame.id)
        if future is not None and not future.done():
            future.set_result(frame)


def now() -> float:
    return asyncio.get_running_loop().time()


def _posted(link: Link, user: str, frame: ClientFrame) -> Posted | None:
    """What a frame does, if it is a send or a change."""
    if frame.HasField("send"):
        send = frame.send
        return Posted(link.name, frame.id, user, send.conversation, send.client_id, send.content.text)
    if frame.HasField("change"):
        change = frame.change
        return Posted(link.name, frame.id, user, change.conversation, change.client_id, change=_change(change, user))
    return None


def _change(change: client_pb2.Change, user: str) -> Change:
    what = change.WhichOneof("act") or ""
    reacted = tuple((each.user, each.reaction, True) for each in change.reacted.added)
    reacted += tuple((each.user, each.reaction, False) for each in change.reacted.removed)
    if what in ("react", "unreact"):
        reacted = ((user, getattr(change, what), what == "react"),)
    text = change.edit.text if what == "edit" else change.finish.text
    return Change(what, change.seq, text, change.pin, reacted)


def _state(state: client_pb2.State) -> State:
    return State(
        state.revision,
        state.edited_ms > 0,
        state.recalled_by,
        state.pinned,
        tuple((each.reaction, each.count, tuple(each.users)) for each in state.reactions),
    )


def stored(message: Message) -> Stored:
    """A message as the history has it."""
    change = _change(message.change, "") if message.HasField("change") else None
    return Stored(
        conversation=message.conversation,
        seq=message.seq,
        message_id=message.message_id,
        sender=message.sender,
        client_id=message.client_id,
        body=message.content.text if change is None else change.text,
        act=message.content.data.decode() if message.kind == Message.SYSTEM else "",
        change=None if change is None else replace(change, text=""),
        state=_state(message.state),
    )
