"""The repository's twin in memory, for simulation and fast tests; it can fail on command.

    database = Database()                     what is durable: outlives the nodes that use it
    repository = database.repository()        the ports, as one node sees them
    database.faults.away = True               every command raises Unavailable, and does nothing
    database.faults.refuse(2)                 the next two do
    database.faults.lose_answers(1)           the next write is done, and raises all the same: its outcome is unknown
    database.faults.cut(3)                    the next ordered insert does 3 and raises
    database.clock.jump(1000)                 its time of day is set, if it was given a ManualClock
    database.faults.delay = hook              awaited before and after each command, with its name: latency, or a crash

Guarantees: those of contract.py; one command is atomic, as one event loop runs it.
Does not know: MongoDB. That both behave alike is held by the contract suite.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from services.common.clock import Clock, SystemClock
from services.storage.limits import LEAD_MAX_MS
from services.storage.repository import contract
from services.storage.repository.contract import Conflict, Inserted
from services.storage.repository.records import (
    MAX_NUMBER,
    Acknowledged,
    ClientKey,
    ConversationDocument,
    InboxEntry,
    MadeChange,
    MemberCursor,
    MemberDocument,
    MemberKey,
    OpKey,
    SessionDocument,
    SessionKey,
    SessionPut,
    Span,
    StoredMessage,
    UserDocument,
    Watermark,
)
from tidings_protocol.errors import Unavailable

T = TypeVar("T")
ADMIN = 2


class Faults:
    """What goes wrong, and when."""

    def __init__(self) -> None:
        self.away = False
        self.delay: Callable[[str], Awaitable[None]] | None = None
        self.commands = 0
        self._refusals = 0
        self._lost = 0
        self._cut: int | None = None

    def refuse(self, commands: int = 1) -> None:
        self._refusals += commands

    def lose_answers(self, writes: int = 1) -> None:
        self._lost += writes

    def cut(self, count: int) -> None:
        self._cut = count

    async def before(self, name: str) -> None:
        """Called by every command before it does anything."""
        self.commands += 1
        if self.delay is not None:
            await self.delay(name)
        if self.away:
            raise _away()
        if self._refusals:
            self._refusals -= 1
            raise _away()

    async def after(self, name: str) -> None:
        """Called by every write when it is done."""
        if self._lost:
            self._lost -= 1
            raise _away()
        if self.delay is not None:
            await self.delay(name)

    def take_cut(self) -> int | None:
        """How many of an ordered insert are done before it fails; None: all."""
        cut, self._cut = self._cut, None
        return cut


def _away() -> Unavailable:
    return Unavailable("the message store does not answer: try again")


@dataclass(slots=True)
class Database:
    """What is durable."""

    faults: Faults = field(default_factory=Faults)
    messages: dict[str, dict[int, StoredMessage]] = field(default_factory=lambda: defaultdict(dict))
    clients: dict[ClientKey, int] = field(default_factory=dict)
    inboxes: dict[str, dict[int, InboxEntry]] = field(default_factory=lambda: defaultdict(dict))
    conversations: dict[str, ConversationDocument] = field(default_factory=dict)
    members: dict[str, dict[str, MemberDocument]] = field(default_factory=lambda: defaultdict(dict))
    changes: dict[OpKey, bytes] = field(default_factory=dict)
    sessions: dict[str, dict[str, SessionDocument]] = field(default_factory=lambda: defaultdict(dict))
    users: dict[str, UserDocument] = field(default_factory=dict)
    devices: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    epoch: str = ""
    clock: Clock = field(default_factory=SystemClock)
    content_read: int = 0  # bytes of messages' contents that went out

    def repository(self, faults: Faults | None = None) -> contract.Repository:
        """The ports. With faults of its own, one node can be cut off while others go on."""
        chosen = self.faults if faults is None else faults
        return contract.Repository(
            MemoryMessages(self, chosen),
            MemoryInboxes(self, chosen),
            MemoryConversations(self, chosen),
            MemoryMembers(self, chosen),
            MemoryChanges(self, chosen),
            MemorySessions(self, chosen),
            MemoryUsers(self, chosen),
            MemoryTime(self, chosen),
        )


class _Port:
    __slots__ = ("_data", "_faults")

    def __init__(self, data: Database, faults: Faults) -> None:
        self._data = data
        self._faults = faults


class MemoryMessages(_Port):
    async def insert(self, messages: Sequence[StoredMessage]) -> Inserted:
        await self._faults.before("messages.insert")
        cut = self._faults.take_cut()
        for index, message in enumerate(messages):
            if index == cut:
                raise _away()
            if conflict := self._conflict(message):
                await self._faults.after("messages.insert")
                return Inserted(index, conflict)
            self._data.messages[message.conversation][message.seq] = message
            self._data.clients[_client(message)] = message.seq
        await self._faults.after("messages.insert")
        return Inserted(len(messages))

    def _conflict(self, message: StoredMessage) -> Conflict | None:
        if message.seq in self._data.messages[message.conversation]:
            return Conflict.NUMBER
        return Conflict.CLIENT if _client(message) in self._data.clients else None

    async def pages(
        self, spans: Sequence[Span], *, content: bool = True, content_max: int = MAX_NUMBER
    ) -> list[list[StoredMessage]]:
        await self._faults.before("messages.pages")
        found = [_page(self._data.messages[span.key], span) for span in spans]
        if content:
            return [[self._bounded(each, content_max) for each in page] for page in found]
        return [[each._replace(content=b"") for each in page] for page in found]

    async def get(
        self, keys: Sequence[tuple[str, int]], *, content_max: int = MAX_NUMBER
    ) -> dict[tuple[str, int], StoredMessage]:
        await self._faults.before("messages.get")
        kept = self._data.messages
        return {key: self._bounded(kept[key[0]][key[1]], content_max) for key in keys if key[1] in kept[key[0]]}

    def _bounded(self, message: StoredMessage, content_max: int) -> StoredMessage:
        size = len(message.content)
        if size > content_max:
            return message._replace(content=b"", left_out=size)
        self._data.content_read += size
        return message

    async def find(self, keys: Collection[ClientKey]) -> dict[ClientKey, StoredMessage]:
        await self._faults.before("messages.find")
        found = {key: self._data.clients[key] for key in keys if key in self._data.clients}
        return {key: self._data.messages[key.conversation][seq] for key, seq in found.items()}

    async def remove(self, conversation: str, below: int) -> int:
        await self._faults.before("messages.remove")
        kept = self._data.messages[conversation]
        gone = [message for seq, message in kept.items() if seq < below]
        for message in gone:
            del kept[message.seq]
            del self._data.clients[_client(message)]
        await self._faults.after("messages.remove")
        return len(gone)


class MemoryInboxes(_Port):
    async def insert(self, entries: Sequence[InboxEntry]) -> Inserted:
        await self._faults.before("inbox.insert")
        cut = self._faults.take_cut()
        for index, entry in enumerate(entries):
            if index == cut:
                raise _away()
            if entry.number in self._data.inboxes[entry.user]:
                await self._faults.after("inbox.insert")
                return Inserted(index, Conflict.NUMBER)
            self._data.inboxes[entry.user][entry.number] = entry
        await self._faults.after("inbox.insert")
        return Inserted(len(entries))

    async def pages(self, spans: Sequence[Span]) -> list[list[InboxEntry]]:
        await self._faults.before("inbox.pages")
        return [_page(self._data.inboxes[span.key], span) for span in spans]

    async def search(
        self, wanted: Sequence[tuple[Span, Collection[tuple[str, int]]]]
    ) -> list[dict[tuple[str, int], int]]:
        await self._faults.before("inbox.search")
        return [
            {
                (entry.conversation, entry.seq): number
                for number, entry in self._data.inboxes[span.key].items()
                if span.after < number < span.before and (entry.conversation, entry.seq) in messages
            }
            for span, messages in wanted
        ]

    async def remove(self, user: str, below: int) -> int:
        await self._faults.before("inbox.remove")
        gone = [number for number in self._data.inboxes[user] if number < below]
        for number in gone:
            del self._data.inboxes[user][number]
        await self._faults.after("inbox.remove")
        return len(gone)


class MemoryConversations(_Port):
    async def load(self, conversations: Collection[str]) -> dict[str, ConversationDocument]:
        await self._faults.before("conversations.load")
        return _those(self._data.conversations, conversations)

    async def create(self, documents: Sequence[ConversationDocument]) -> None:
        await self._faults.before("conversations.create")
        for document in documents:
            self._data.conversations.setdefault(document.conversation, document)
        await self._faults.after("conversations.create")

    async def swap(self, document: ConversationDocument, expected_stamp: int) -> bool:
        await self._faults.before("conversations.swap")
        present = self._data.conversations.get(document.conversation)
        swapped = (present.stamp if present else 0) == expected_stamp
        if swapped:
            kept = present or ConversationDocument(document.conversation, document.kind)
            self._data.conversations[document.conversation] = replace(
                document, head=kept.head, settled=kept.settled, last_ms=kept.last_ms, first_seq=kept.first_seq
            )
        await self._faults.after("conversations.swap")
        return swapped

    async def advance(self, watermarks: Sequence[Watermark]) -> None:
        await self._faults.before("conversations.advance")
        for mark in watermarks:
            if present := self._data.conversations.get(mark.conversation):
                self._data.conversations[mark.conversation] = replace(
                    present,
                    head=max(present.head, mark.head),
                    settled=max(present.settled, mark.settled),
                    last_ms=_later(present.last_ms, mark),
                    first_seq=max(present.first_seq, mark.first_seq),
                    pending=b"" if mark.applied_stamp == present.stamp else present.pending,
                )
        await self._faults.after("conversations.advance")

    async def after(self, conversation: str, limit: int) -> list[ConversationDocument]:
        await self._faults.before("conversations.after")
        return _next(self._data.conversations, conversation, limit)

    async def times(self, conversations: Collection[str]) -> dict[str, int]:
        await self._faults.before("conversations.times")
        return {key: each.last_ms for key, each in _those(self._data.conversations, conversations).items()}


class MemoryMembers(_Port):
    def _there(self, conversation: str) -> dict[str, MemberDocument]:
        return {user: each for user, each in self._data.members[conversation].items() if not each.gone}

    async def all_in(self, conversations: Collection[str]) -> dict[str, list[MemberDocument]]:
        await self._faults.before("members.all_in")
        return {key: list(there.values()) for key in conversations if (there := self._there(key))}

    async def find(self, keys: Collection[MemberKey]) -> dict[MemberKey, MemberDocument]:
        await self._faults.before("members.find")
        return {key: there[key.user] for key in keys if key.user in (there := self._there(key.conversation))}

    async def write(self, members: Sequence[MemberDocument]) -> None:
        await self._faults.before("members.write")
        for member in members:
            kept = self._data.members[member.conversation]
            present = kept.get(member.user)
            if present is None or present.stamp < member.stamp:
                kept[member.user] = member if present is None else _moved(member, present)
        await self._faults.after("members.write")

    async def advance(self, cursors: Sequence[MemberCursor]) -> None:
        await self._faults.before("members.advance")
        for cursor in cursors:
            present = self._data.members[cursor.conversation].get(cursor.user)
            if present is not None:
                self._data.members[cursor.conversation][cursor.user] = _moved(present, cursor)
        await self._faults.after("members.advance")

    async def page(self, conversation: str, after: str, limit: int) -> list[MemberDocument]:
        await self._faults.before("members.page")
        return _next(self._there(conversation), after, limit)

    async def memberships(self, users: Collection[str], *, large_only: bool) -> dict[str, list[MemberDocument]]:
        await self._faults.before("members.memberships")
        found: dict[str, list[MemberDocument]] = defaultdict(list)
        for conversation in self._data.members:
            there = self._there(conversation)
            for user in users:
                if user in there and (there[user].large or not large_only):
                    found[user].append(there[user])
        return dict(found)

    async def joined(self, user: str) -> list[str]:
        await self._faults.before("members.joined")
        return [conversation for conversation in self._data.members if user in self._there(conversation)]

    async def successor(self, conversation: str, owner: str) -> str:
        await self._faults.before("members.successor")
        others = [member for member in self._there(conversation).values() if member.user != owner]
        admins = [member for member in others if member.role == ADMIN]
        oldest = min(admins or others, key=lambda member: (member.joined_ms, member.user), default=None)
        return oldest.user if oldest else ""


class MemoryChanges(_Port):
    async def keep(self, changes: Sequence[MadeChange]) -> None:
        await self._faults.before("changes.keep")
        for change in changes:
            self._data.changes.setdefault(change.key, change.change)
        await self._faults.after("changes.keep")

    async def find(self, keys: Collection[OpKey]) -> dict[OpKey, bytes]:
        await self._faults.before("changes.find")
        return {key: self._data.changes[key] for key in keys if key in self._data.changes}


class MemorySessions(_Port):
    async def of_users(self, users: Collection[str]) -> dict[str, list[SessionDocument]]:
        await self._faults.before("sessions.of_users")
        return {user: list(self._data.sessions[user].values()) for user in users if self._data.sessions[user]}

    async def put(self, puts: Sequence[SessionPut]) -> list[bool]:
        await self._faults.before("sessions.put")
        done: list[bool] = []
        for document, expected in puts:
            devices = self._data.sessions[document.user]
            present = devices.get(document.device)
            fits = (present.session if present else "") in (expected, document.session)
            if fits:
                devices[document.device] = document
            done.append(fits)
        await self._faults.after("sessions.put")
        return done

    async def remove(self, keys: Collection[SessionKey]) -> None:
        await self._faults.before("sessions.remove")
        for key in keys:
            present = self._data.sessions[key.user].get(key.device)
            if present is not None and present.session == key.session:
                del self._data.sessions[key.user][key.device]
        await self._faults.after("sessions.remove")

    async def boots(self) -> set[str]:
        await self._faults.before("sessions.boots")
        return {session.boot_id for devices in self._data.sessions.values() for session in devices.values()}

    async def under(self, boot_id: str, after: tuple[str, str], limit: int) -> list[SessionDocument]:
        await self._faults.before("sessions.under")
        every = [session for devices in self._data.sessions.values() for session in devices.values()]
        mine = [each for each in every if each.boot_id == boot_id and (each.user, each.device) > after]
        return sorted(mine, key=lambda each: (each.user, each.device))[:limit]


class MemoryUsers(_Port):
    async def find(self, users: Collection[str]) -> dict[str, UserDocument]:
        await self._faults.before("users.find")
        return _those(self._data.users, users)

    async def held(self, users: Collection[str]) -> dict[str, int]:
        await self._faults.before("users.held")
        return {user: max(devices.values()) for user in users if (devices := self._data.devices[user])}

    async def create(self, users: Collection[str], now_ms: int, *, welcomed: bool = False) -> None:
        await self._faults.before("users.create")
        for user in users:
            present = self._data.users.setdefault(user, UserDocument(user, now_ms))
            if welcomed:
                self._data.users[user] = replace(present, welcomed=True)
        await self._faults.after("users.create")

    async def seen(self, times: Mapping[str, int]) -> None:
        await self._faults.before("users.seen")
        for user, time_ms in times.items():
            if present := self._data.users.get(user):
                self._data.users[user] = replace(present, last_seen_ms=max(present.last_seen_ms, time_ms))
        await self._faults.after("users.seen")

    async def acknowledge(self, held: Sequence[Acknowledged]) -> None:
        await self._faults.before("users.acknowledge")
        for user, device, number in held:
            devices = self._data.devices[user]
            devices[device] = max(devices.get(device, 0), number)
        await self._faults.after("users.acknowledge")

    async def after(self, user: str, limit: int) -> list[UserDocument]:
        await self._faults.before("users.after")
        return _next(self._data.users, user, limit)

    async def epoch(self, candidate: str) -> str:
        await self._faults.before("users.epoch")
        self._data.epoch = self._data.epoch or candidate
        return self._data.epoch


class MemoryTime(_Port):
    async def now_ms(self) -> int:
        await self._faults.before("time.now")
        return self._data.clock.wall_ms()


class _Cursors(Protocol):
    @property
    def read_seq(self) -> int: ...
    @property
    def delivered_seq(self) -> int: ...


def _client(message: StoredMessage) -> ClientKey:
    return ClientKey(message.conversation, message.sender, message.client_id)


def _later(last_ms: int, mark: Watermark) -> int:
    if mark.was_ahead and last_ms > mark.last_ms + LEAD_MAX_MS:
        return mark.last_ms
    return max(last_ms, mark.last_ms)


def _page(kept: Mapping[int, T], span: Span) -> list[T]:
    numbers: Iterable[int] = sorted(
        (number for number in kept if span.after < number < span.before), reverse=span.descending
    )
    return [kept[number] for number in list(numbers)[: span.limit]]


def _those(kept: Mapping[str, T], keys: Collection[str]) -> dict[str, T]:
    return {key: kept[key] for key in keys if key in kept}


def _next(kept: Mapping[str, T], after: str, limit: int) -> list[T]:
    return [kept[key] for key in sorted(key for key in kept if key > after)[:limit]]


def _moved(member: MemberDocument, other: _Cursors) -> MemberDocument:
    """With the higher cursors of both."""
    return replace(
        member,
        read_seq=max(member.read_seq, other.read_seq),
        delivered_seq=max(member.delivered_seq, other.delivered_seq),
    )
