"""What a device decides that keeps the rules of docs/protocol.md: frames in, events and frames out: no I/O, no clock.

    core.receive(frame, now) -> what it means        core.due(now) -> what is to be sent now

Rules: sends stay drafts until `sent`; after a reconnect all of them are posted again, in order, with the same client
ids; a refusal with a retry time is posted again after it. The cursor is the highest number below which all is held; a
gap is waited for a moment, then synced; a welcome or `lagging` that promises more is synced at once, what a pong
promises like a gap. Groups with cursors are read by history.

Guarantees: `Shown` comes once per inbox entry, in the order of the inbox, and never for what this device sent itself.

Does not know: connections and nodes (its shells do: device.py, tests/support/load/bare.py); what is right (histories).
It is a second implementation of a client, written from docs/protocol.md: what it gets wrong the project's own client
may get right, and the other way round.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidings_protocol.client_pb2 import (
    Ack,
    Change,
    ClientFrame,
    Content,
    Entry,
    Error,
    Goodbye,
    Hello,
    History,
    Message,
    Page,
    Ping,
    Send,
    Sent,
    ServerFrame,
    Sync,
    Welcome,
)

PROTOCOL = 11
REPLACED = 4501
REST_S = 0.1  # before a page that brought nothing is asked for again
PAGE = 100
HEARTBEAT_S = 15.0


@dataclass(slots=True)
class Draft:
    """A send, or a change, that nobody has acknowledged."""

    client_id: str
    conversation: str
    body: str
    change: Change | None = None
    posted_at: float = -1.0  # on the present connection; below 0: not yet
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class Arrived:
    """An entry, as it came: perhaps not for the first time, perhaps out of order."""

    number: int
    message: Message


@dataclass(frozen=True, slots=True)
class Shown:
    message: Message


@dataclass(frozen=True, slots=True)
class Accepted:
    """A send has its place. `is_first`: it was a draft until now."""

    frame: int
    sent: Sent
    is_first: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """A send was refused for good."""

    draft: Draft
    error: Error


@dataclass(frozen=True, slots=True)
class Restarted:
    """The server's data are not those of before: the cursors begin anew."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The reply to what the shell asked: to its hello, or to one of its requests."""

    frame: ServerFrame


@dataclass(frozen=True, slots=True)
class Parted:
    goodbye: Goodbye


Event = Arrived | Shown | Accepted | Rejected | Restarted | Answered | Parted


@dataclass(slots=True)
class Backoff:
    """Full jitter over an interval that grows with each failure in a row."""

    base_s: float = 0.5
    max_s: float = 20.0
    factor: float = 2.0
    failures: int = 0

    def delay_s(self, rng: random.Random) -> float:
        self.failures += 1
        return rng.uniform(0, min(self.max_s, self.base_s * self.factor ** (self.failures - 1)))


@dataclass(slots=True)
class DeviceCore:
    """One device through all its connections.

    `sends_at_once`: how many sends wait for an answer (0: all). `patient`: nothing is sent until a request of its own
    is answered, so what is written meanwhile goes in one burst, which lands in one batch.
    """

    name: str
    kind: Hello.Kind.ValueType = Hello.MOBILE
    client: str = "wire/1"
    attempt: int | None = 0  # of the last login; None: a client of before, which does not number them
    sends_at_once: int = 0
    patient: bool = False
    gap_s: float = 0.4  # a number may come a little before the one below it: own sends and deliveries travel apart
    ack_s: float = 0.2
    answer_s: float = 8.0
    cursor: int = 0
    head: int = 0
    epoch: str = ""
    group_cursors: dict[str, int] = field(default_factory=dict)
    group_heads: dict[str, int] = field(default_factory=dict)
    drafts: dict[str, Draft] = field(default_factory=dict)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _ahead: dict[int, Message | None] = field(default_factory=dict)
    _sends: dict[int, Draft] = field(default_factory=dict)
    _asked: dict[int, float] = field(default_factory=dict)  # own requests, when they were sent
    _reading: dict[int, str] = field(default_factory=dict)  # groups, by the request
    _rest: dict[str, float] = field(default_factory=dict)  # groups that are not asked for before then
    _syncing: int = 0
    _sync_now: bool = False
    _gap_since: float = -1.0
    _heartbeat_s: float = HEARTBEAT_S
    _last_sent: float = 0.0
    _acked: int = 0
    _acked_at: float = 0.0

    # ---- what the shell asks for

    def post(self, client_id: str, conversation: str, body: str) -> None:
        self.drafts[client_id] = Draft(client_id, conversation, body)

    def change(self, client_id: str, change: Change) -> None:
        """Does this to an earlier message; `change` needs no client id."""
        change.client_id = client_id
        self.drafts[client_id] = Draft(client_id, change.conversation, "", change)

    def hello(self, token: str, now: float, avoid: Iterable[str] = ()) -> ClientFrame:
        if self.attempt is not None:
            self.attempt += 1
        return self.request(
            now,
            hello=Hello(
                token=token,
                device=self.name,
                kind=self.kind,
                cursor=self.cursor,
                epoch=self.epoch,
                client=self.client,
                group_cursors=self.group_cursors,
                avoid=avoid,
                protocol=PROTOCOL,
                attempt=self.attempt or 0,
            ),
        )

    def request(self, now: float, **body: Any) -> ClientFrame:
        """A frame with an id of its own; the reply comes as `Answered`."""
        self._last_sent = now
        return ClientFrame(id=next(self._ids), **body)

    def due(self, now: float) -> list[ClientFrame]:
        """What is to be sent on the present connection, in this order."""
        if self.patient and self._asked:
            return []
        return [*self._due_drafts(now), *self._due_sync(now), *self._due_histories(now), *self._due_signs(now)]

    def is_late(self, now: float) -> bool:
        """An answer is overdue: the connection is half open, or the answer was lost with its node."""
        posted = (draft.posted_at for draft in self.drafts.values() if draft.posted_at >= 0)
        return any(at < now - self.answer_s for at in itertools.chain(posted, self._asked.values()))

    def lost(self) -> None:
        """The connection is over."""
        for draft in self.drafts.values():
            draft.posted_at = -1.0
        for table in (self._sends, self._asked, self._reading):
            table.clear()
        self._syncing, self._sync_now, self._gap_since, self._acked, self._acked_at = 0, False, -1.0, 0, 0.0

    @property
    def settled(self) -> bool:
        """No draft is left and nothing is missing, as far as this device knows."""
        groups = all(self.group_cursors.get(group, 0) >= head for group, head in self.group_heads.items())
        return not self.drafts and self.cursor >= self.head and groups

    # ---- what came

    def receive(self, frame: ServerFrame, now: float) -> list[Event]:
        match frame.WhichOneof("body"):
            case "deliver":
                return self._entries(frame.deliver.entries)
            case "sent" if frame.id in self._sends:
                return self._sent(frame)
            case "error":
                return self._error(frame, now)
            case "page" if frame.id in self._asked:
                return self._page(frame, now)
            case "welcome":
                return [*self._welcome(frame.welcome), Answered(frame)]
            case "pong":
                self._promised(frame.pong.inbox_head, frame.pong.group_heads)
                return [] if self._asked.pop(frame.id, None) is not None else [Answered(frame)]
            case "lagging":
                self._promised(frame.lagging.inbox_head, {})
                self._sync_now = True
                return []
            case "goodbye":
                return [Parted(frame.goodbye)]
            case _:
                # Without an id: receipts, presence, signals: not this device's interest.
                return [Answered(frame)] if frame.id else []

    # ---- inside: what is due

    def _due_drafts(self, now: float) -> list[ClientFrame]:
        frames = []
        for draft in itertools.islice(self.drafts.values(), self.sends_at_once or None):
            waits = draft.posted_at >= 0 and now - draft.posted_at < self.answer_s
            if waits or draft.not_before > now:
                continue
            draft.posted_at = now
            if draft.change is not None:
                frames.append(self.request(now, change=draft.change))
            else:
                content = Content(text=draft.body)
                send = Send(client_id=draft.client_id, conversation=draft.conversation, content=content)
                frames.append(self.request(now, send=send))
            self._sends[frames[-1].id] = draft
        return frames

    def _due_sync(self, now: float) -> list[ClientFrame]:
        if self._syncing:
            return []
        if not self._sync_now:
            if not self._ahead and self.cursor >= self.head:
                self._gap_since = -1.0
                return []
            if self._gap_since < 0:
                self._gap_since = now
            if now - self._gap_since < self.gap_s:
                return []
        self._sync_now, self._gap_since = False, -1.0
        frame = self._ask(now, sync=Sync(after=self.cursor, limit=PAGE))
        self._syncing = frame.id
        return [frame]

    def _due_histories(self, now: float) -> list[ClientFrame]:
        frames = []
        for group, head in self.group_heads.items():
            after = self.group_cursors.get(group, 0)
            if after >= head or group in self._reading.values() or self._rest.get(group, 0.0) > now:
                continue
            frames.append(self._ask(now, history=History(conversation=group, after=after, limit=PAGE, changes=True)))
            self._reading[frames[-1].id] = group
        return frames

    def _due_signs(self, now: float) -> list[ClientFrame]:
        """Acknowledgement and heartbeat."""
        frames = []
        if self.cursor > self._acked and now - self._acked_at >= self.ack_s:
            self._acked, self._acked_at, self._last_sent = self.cursor, now, now
            frames.append(ClientFrame(ack=Ack(number=self.cursor)))
        if now - self._last_sent >= self._heartbeat_s:
            frames.append(self._ask(now, ping=Ping()))
        return frames

    def _ask(self, now: float, **body: Any) -> ClientFrame:
        frame = self.request(now, **body)
        self._asked[frame.id] = now
        return frame

    # ---- inside: what came

    def _welcome(self, welcome: Welcome) -> list[Event]:
        if welcome.reset:
            self.cursor = 0
            self._ahead.clear()
            self.group_cursors.clear()
        self.epoch = welcome.epoch
        self._heartbeat_s = float(welcome.heartbeat_s or 30)
        self._promised(welcome.inbox_head, welcome.group_heads)
        self._sync_now = self.cursor < welcome.inbox_head
        return [Restarted()] if welcome.reset else []

    def _sent(self, frame: ServerFrame) -> list[Event]:
        draft = self._sends.pop(frame.id)
        is_first = self.drafts.pop(draft.client_id, None) is not None
        shown = self._hold(frame.sent.number, None) if frame.sent.number else []
        return [Accepted(frame.id, frame.sent, is_first), *shown]

    def _error(self, frame: ServerFrame, now: float) -> list[Event]:
        self._asked.pop(frame.id, None)
        if frame.id == self._syncing:
            self._syncing, self._gap_since = 0, now
        elif frame.id in self._reading:
            self._rest[self._reading.pop(frame.id)] = now + REST_S
        elif frame.id in self._sends:
            return self._refused(self._sends.pop(frame.id), frame.error, now)
        else:
            return [Answered(frame)]
        return []

    def _refused(self, draft: Draft, error: Error, now: float) -> list[Event]:
        if not error.retry_after_ms:
            self.drafts.pop(draft.client_id, None)
            return [Rejected(draft, error)]
        draft.posted_at, draft.not_before = -1.0, now + error.retry_after_ms / 1000
        return []

    def _page(self, frame: ServerFrame, now: float) -> list[Event]:
        del self._asked[frame.id]
        events = self._entries(frame.page.entries)
        if frame.id == self._syncing:
            self._syncing, self._sync_now = 0, frame.page.more
            self._promised(frame.page.head, {})
            return [*events, *self._skip_to(frame.page.next)]
        group = self._reading.pop(frame.id)
        # Also past what this user may not read: from before the joining.
        self.group_cursors[group] = max(self.group_cursors.get(group, 0), frame.page.next)
        if not frame.page.entries:
            self._rest[group] = now + REST_S
        return events

    def _entries(self, entries: Iterable[Entry]) -> list[Event]:
        events: list[Event] = []
        for entry in entries:
            message = entry.message
            events.append(Arrived(entry.number, message))
            if entry.number:
                events += self._hold(entry.number, message)
            elif message.seq == self.group_cursors.get(message.conversation, 0) + 1:
                self.group_cursors[message.conversation] = message.seq
            elif message.seq > self.group_cursors.get(message.conversation, 0):
                self._promised(0, {message.conversation: message.seq})
        return events

    def _promised(self, inbox_head: int, group_heads: Mapping[str, int]) -> None:
        self.head = max(self.head, inbox_head)
        for group, head in group_heads.items():
            self.group_heads[group] = max(head, self.group_heads.get(group, 0))

    def _hold(self, number: int, message: Message | None) -> list[Event]:
        """None: this device sent it."""
        self.head = max(self.head, number)
        if number > self.cursor:
            self._ahead.setdefault(number, message)
        return self._show()

    def _skip_to(self, number: int) -> list[Event]:
        """The server says that all up to here was there to be had: what is missing was deleted."""
        shown: list[Event] = []
        for held in sorted(held for held in self._ahead if held <= number):
            message = self._ahead.pop(held)
            shown += [Shown(message)] if message is not None else []
        self.cursor = max(self.cursor, number)
        return shown + self._show()

    def _show(self) -> list[Event]:
        shown: list[Event] = []
        while self.cursor + 1 in self._ahead:
            self.cursor += 1
            message = self._ahead.pop(self.cursor)
            shown += [Shown(message)] if message is not None else []
        return shown


Ask = Callable[[ClientFrame], Awaitable[Page]]


async def whole_conversation(ask: Ask, conversation: str) -> list[Message]:
    """All that there is to be read; `ask` gives the page that a request without an id is answered with."""
    found: list[Message] = []
    after, more = 0, True
    while more:
        page = await ask(ClientFrame(history=History(conversation=conversation, after=after, limit=200, changes=True)))
        found += [entry.message for entry in page.entries]
        after, more = page.next, page.more
    return found


async def whole_inbox(ask: Ask) -> tuple[int, list[tuple[int, Message]]]:
    """The head, and all entries."""
    found: list[tuple[int, Message]] = []
    after, more, head = 0, True, 0
    while more:
        page = await ask(ClientFrame(sync=Sync(after=after, limit=500)))
        found += [(entry.number, entry.message) for entry in page.entries]
        after, more, head = page.next, page.more, page.head
    return head, found
