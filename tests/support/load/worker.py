"""A process of clients: devices of the client library that talk, and write down what they did and were shown.

Driven by JSON lines on standard input (see `Worker.obey`), answers and progress on standard output. Everything that is
random comes from the seed that it is given.

Guarantees: what it writes is only what the client library told the application.
Does not know: what is done to the cluster.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from tests.support.histories import record
from tests.support.histories.due import due
from tests.support.load.changing import LATEST, drawn
from tests.support.load.keeping import Keeping
from tests.support.load.population import DIRECT, LARGE_GROUP, Device, Population
from tidings import (
    BadRequest,
    Busy,
    ChangeAct,
    Client,
    DeviceKind,
    Forbidden,
    MemoryState,
    Message,
    MessageChanged,
    NotFound,
    Outgoing,
    Sent,
    SessionEnded,
    State,
    TidingsError,
)
from tidings_protocol.ids import direct

PROGRESS_S = 0.5
AWAY_S = (0.5, 3.0)
STAY_S = (3.0, 8.0)
POLL_S = 0.1
GROW_S = 0.7
ANNOUNCED_S = 3.0  # after which no reaction waits for its entry any more
CHANGES = 0.2  # of what is done, the share that is done to earlier messages
HISTORY_PAGE, INBOX_PAGE = 200, 500


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker is told first: who it is, where the cluster is."""

    population: dict[str, Any]
    share: int
    shares: int
    ws: list[str]
    tcp: list[str]
    tokens: dict[str, str]
    seed: int
    history: str


@dataclass(slots=True)
class Talker:
    """One device: opened, and closed and opened again if it is restless."""

    device: Device
    state: MemoryState = field(default_factory=MemoryState)
    client: Client | None = None
    shown: dict[str, set[int]] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    ended: bool = False
    keeping: Keeping = field(init=False)

    def __post_init__(self) -> None:
        self.keeping = Keeping(self.device.user)

    @property
    def online(self) -> bool:
        return self.client is not None and self.client.online


class Worker:
    def __init__(self, task: Task) -> None:
        self._task = task
        self._people = Population.from_json(task.population)
        self._rng = random.Random(f"{task.seed}/{task.share}")
        mine = [device for number, device in enumerate(self._people.devices) if number % task.shares == task.share]
        self._talkers = [Talker(device) for device in mine]
        self._group_ids: dict[str, str] = {}
        self._members: list[record.Member] = []
        self._posted_at: dict[tuple[str, str], float] = {}
        self._reads: dict[str, record.Read] = {}
        self._events: list[record.Event] = []
        self._posted = self._acknowledged = self._shown = self._open = 0
        self._rate = 0.0
        self._restless = False
        self._client_ids = itertools.count(1)
        self._orders: dict[tuple[str, str], Iterator[int]] = defaultdict(lambda: itertools.count(1))
        self._posts: asyncio.TaskGroup | None = None

    async def run(self, orders: asyncio.StreamReader) -> None:
        async with asyncio.TaskGroup() as group:
            self._posts = group
            tasks = [group.create_task(self._live(talker)) for talker in self._talkers]
            tasks += [group.create_task(self._talk()), group.create_task(self._tell_progress())]
            tasks += [group.create_task(self._grow(name)) for name in self._people.newcomers]
            while line := await orders.readline():
                order = msgspec.json.decode(line)
                if order["do"] == "quit":
                    break
                answer = await self.obey(order)
                say({"done": order["do"], **answer})
            for task in tasks:
                task.cancel()
        record.write(Path(self._task.history), [*self._events, *self._mine_of(self._members)])
        say({"done": "quit"})

    def _mine_of(self, members: list[record.Member]) -> list[record.Member]:
        """Those that no other process writes down."""
        return [member for member in members if member.since or not self._task.share]

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        match order:
            case {"do": "connect", "timeout_s": timeout_s}:
                return {"online": await self._until(self._all_online, timeout_s), "waiting": self._offline()}
            case {"do": "groups", "timeout_s": timeout_s}:
                return {"groups": await self._make_groups(timeout_s)}
            case {"do": "join", "groups": groups}:
                self._group_ids = groups
                self._members += self._people.members(groups)
                return {}
            case {"do": "rate", "rate": rate, "restless": restless}:
                self._rate, self._restless = float(rate), restless
                return {}
            case {"do": "rest", "timeout_s": timeout_s}:
                self._rate, self._restless = 0.0, False
                settled = await self._until(lambda: self._open == 0 and self._all_online(), timeout_s)
                return {"settled": settled, "waiting": self._offline()}
            case {"do": "finish", "timeout_s": timeout_s}:
                return await self._finish(timeout_s)
            case _:
                raise ValueError(f"an order that nobody knows: {order}")

    # ---- devices

    async def _live(self, talker: Talker) -> None:
        device = talker.device
        urls = self._task.tcp if device.way == "tcp" else self._task.ws
        try:
            while True:
                async with Client(
                    self._rng.sample(urls, len(urls)),
                    token=self._task.tokens[device.user],
                    device=device.name,
                    kind=DeviceKind.MOBILE if device.mobile else DeviceKind.WEB,
                    state=talker.state,
                    codec="json" if device.way == "json" else "proto",
                    connect_timeout_s=None,
                    send_timeout_s=None,
                    from_start=True,
                    name="chaos/1",
                ) as client:
                    talker.client = client
                    self._events.append(record.Back(now(), device.user, device.name))
                    async with asyncio.TaskGroup() as group:
                        reading = group.create_task(self._listen(talker, client))
                        await self._stay(talker)
                        talker.client = None
                        reading.cancel()
                talker.client = None
                await asyncio.sleep(self._rng.uniform(*AWAY_S))
        except* SessionEnded as ended:
            talker.client, talker.ended = None, True
            self._events.append(record.Ended(now(), device.user, device.name, repr(ended.exceptions[0])))

    async def _stay(self, talker: Talker) -> None:
        """Stays for ever, or for a while if the device is restless just now."""
        while True:
            await asyncio.sleep(self._rng.uniform(*STAY_S))
            if self._restless and talker.device.restless:
                return

    async def _listen(self, talker: Talker, client: Client) -> None:
        device = talker.device
        async for event in client.events():
            match event:
                case Message():
                    entry = stored(event)
                    talker.keeping.shown(event)
                case MessageChanged():
                    entry = stored_change(event)
                    talker.keeping.changed(event)
                case _:
                    continue
            self._shown += 1
            talker.shown.setdefault(entry.conversation, set()).add(entry.seq)
            self._events.append(record.Shown(now(), device.user, device.name, entry))

    # ---- talking

    async def _talk(self) -> None:
        """At the rate that is asked for, in ticks; who cannot keep up sends less, not in bursts."""
        due = now()
        while True:
            await asyncio.sleep(0.01)
            if not self._rate:
                due = now()
                continue
            due = max(due, now() - 0.2)
            while due <= now():
                due += 1.0 / self._rate
                self._post_one()

    def _post_one(self) -> None:
        talker = self._rng.choice(self._talkers)
        client = talker.client
        to = self._choose(talker.device.user)
        if client is None or to is None or self._posts is None:
            return
        device = talker.device
        client_id = f"{device.name}-{self._task.share}-{next(self._client_ids)}"
        if self._rng.random() < CHANGES:
            latest = talker.keeping.latest(to, LATEST)
            change = drawn(self._rng, device.user, latest, pins=to.startswith("d:") or device.user in self._owners(to))
            if change is not None:
                self._open += 1
                self._posts.create_task(self._change(talker, client, to, client_id, change))
                return
        text = f"{client_id} of {device.user}"
        try:
            outgoing = client.post(to, text, client_id=client_id)
        except (Busy, TidingsError):  # the client's own bound: nothing was sent
            return
        talker.own.add(client_id)
        self._open += 1
        order = self._note_posted(device, to, client_id, text)
        self._posts.create_task(self._send(talker, order, outgoing, text))

    def _owners(self, group: str) -> set[str]:
        """Who made the group."""
        return {self._people.groups[name][0] for name, known in self._group_ids.items() if known == group}

    def _note_posted(
        self, device: Device, to: str, client_id: str, text: str, change: record.Change | None = None
    ) -> int:
        """Its place among what the device has posted."""
        order = next(self._orders[device.user, device.name])
        self._posted += 1
        self._posted_at[device.user, client_id] = now()
        self._events.append(record.Posted(now(), device.user, device.name, order, to, client_id, text, change))
        return order

    async def _send(self, talker: Talker, order: int, outgoing: Outgoing, text: str) -> None:
        sent = await self._outcome(talker.device, order, outgoing.client_id, outgoing.sent())
        if sent is not None:
            message = Message(
                sent.message_id,
                sent.conversation,
                sent.seq,
                talker.device.user,
                sent.time_ms,
                text,
                client_id=sent.client_id,
            )
            talker.keeping.own(message)

    async def _change(self, talker: Talker, client: Client, to: str, client_id: str, change: record.Change) -> None:
        """It is noted in the moment in which the client is asked, so that the order is the client's."""
        text = f"{client_id} of {talker.device.user}, better" if change.what == "edit" else ""
        order = self._note_posted(talker.device, to, client_id, text, change)
        await self._outcome(talker.device, order, client_id, asked(client, to, client_id, change, text))

    async def _outcome(self, device: Device, order: int, client_id: str, outcome: Awaitable[Sent]) -> Sent | None:
        try:
            sent = await outcome
        except (Forbidden, NotFound, BadRequest) as error:
            self._events.append(record.Refused(now(), device.user, device.name, client_id, error.code))
        except (TidingsError, asyncio.CancelledError) as error:
            reason = repr(error)[:200]
            self._events.append(record.GaveUp(now(), device.user, device.name, client_id, reason))
        else:
            self._acknowledged += 1
            self._events.append(
                record.Acknowledged(
                    now(),
                    device.user,
                    device.name,
                    order,
                    sent.conversation,
                    client_id,
                    sent.seq,
                    sent.message_id,
                    sent.time_ms,
                    sent.duplicate,
                )
            )
            return sent
        finally:
            self._open -= 1
        return None

    def _choose(self, user: str) -> str | None:
        """A conversation of this user, by the shares of what is sent."""
        dice = self._rng.random()
        if dice < DIRECT or not self._group_ids:
            pairs = [pair for pair in self._people.pairs if user in pair]
            return direct(*self._rng.choice(pairs)) if pairs else None
        groups = self._people.large if dice > 1 - LARGE_GROUP else self._people.small
        mine = [name for name, members in groups.items() if user in members]
        return self._group_ids[self._rng.choice(mine)] if mine else None

    async def _make_groups(self, timeout_s: float) -> dict[str, str]:
        made = {}
        async with asyncio.timeout(timeout_s):
            for name, members in self._people.groups.items():
                client = self._client_of(members[0])
                if client is not None:
                    made[name] = (await client.create_group(name, members[1:])).id
        return made

    async def _grow(self, name: str) -> None:
        """Adds one newcomer after the other, as long as there is load; each again and again until it is done."""
        members, newcomers = self._people.groups[name], list(self._people.newcomers[name])
        while newcomers:
            await asyncio.sleep(GROW_S)
            client = self._client_of(members[0])
            if client is None or name not in self._group_ids or not self._rate:
                continue
            user, group = newcomers[0], self._group_ids[name]
            try:
                await client.add(group, [user])
            except TidingsError:
                continue
            del newcomers[0]
            self._members.append(record.Member(group, user, self._people.devices_of(user), now()))

    # ---- the end: what there is to be found

    async def _finish(self, timeout_s: float) -> dict[str, Any]:
        """Read everything there is, and wait until all devices were shown what is theirs."""
        await asyncio.sleep(ANNOUNCED_S)
        async with asyncio.TaskGroup() as group:
            reads = [group.create_task(self._read(name, timeout_s)) for name in self._conversations()]
        caught_up = await self._until(lambda: not any(map(self._misses, self._talkers)), timeout_s)
        users = {talker.device.user: talker for talker in self._talkers}
        async with asyncio.TaskGroup() as group:
            inboxes = [group.create_task(self._read_inbox(talker, timeout_s)) for talker in users.values()]
        for talker in self._talkers:
            self._events += kept(talker)
        unread = [task.result() for task in (*reads, *inboxes) if task.result()]
        return {"caught_up": caught_up, "unread": unread}

    def _all_online(self) -> bool:
        return all(talker.online or talker.ended for talker in self._talkers)

    def _offline(self) -> list[str]:
        return [
            f"{talker.device.user}/{talker.device.name} ({'closed' if talker.client is None else 'not connected'})"
            for talker in self._talkers
            if not talker.online and not talker.ended
        ]

    def _conversations(self) -> list[str]:
        mine = {talker.device.user for talker in self._talkers}
        return sorted({each.conversation for each in self._members if each.user in mine and not each.since})

    def _misses(self, talker: Talker) -> bool:
        user = talker.device.user
        mine = [member for member in self._members if member.user == user and member.conversation in self._reads]
        return not talker.ended and any(self._lacks(talker, member) for member in mine)

    def _lacks(self, talker: Talker, member: record.Member) -> bool:
        """Whether the device was not shown all that was posted for it in this conversation."""
        log = self._reads[member.conversation].messages
        posted_at = {each.seq: self._posted_at.get((each.sender, each.client_id), 0.0) for each in log}
        wanted = {
            each.seq
            for each in due(log)
            if not (each.change is None and each.sender == member.user and each.client_id in talker.own)
            and posted_at.get(each.change.target if each.change is not None else each.seq, 0.0) >= member.since
        }
        return not talker.shown.get(member.conversation, set()).issuperset(wanted)

    async def _read(self, conversation: str, timeout_s: float) -> str:
        """Read it whole, as one of its members that lives here; what went wrong, if something did."""
        users = [each.user for each in self._members if each.conversation == conversation and not each.since]
        client = next(client for user in users if (client := self._client_of(user)) is not None)
        entries: list[record.Stored] = []
        try:
            async with asyncio.timeout(timeout_s):
                after, more = 0, True
                while more:
                    page = await client.history(conversation, after=after, limit=HISTORY_PAGE, changes=True)
                    entries += map(stored, page.messages)
                    entries += map(stored_change, page.changes)
                    after, more = page.next, page.more
        except (TidingsError, TimeoutError) as error:
            return f"{conversation}: {error!r}"[:300]
        messages = tuple(sorted(entries, key=lambda entry: entry.seq))
        self._reads[conversation] = record.Read(client.user, conversation, messages)
        self._events.append(self._reads[conversation])
        return ""

    async def _read_inbox(self, talker: Talker, timeout_s: float) -> str:
        entries: list[tuple[int, record.Stored]] = []
        client = talker.client
        if client is None:
            return f"{talker.device.user}: offline" * (not talker.ended)
        try:
            async with asyncio.timeout(timeout_s):
                after, head, more = 0, 0, True
                while more:
                    page = await client.inbox(after, limit=INBOX_PAGE)
                    entries += [(number, stored(message)) for number, message in page.entries]
                    entries += [(number, stored_change(change)) for number, change in page.changes]
                    entries += [(number, stub(conversation, seq)) for number, conversation, seq in page.stubs]
                    after, head, more = page.next, page.head, page.more
        except (TidingsError, TimeoutError) as error:
            return f"the inbox of {talker.device.user}: {error!r}"[:300]
        entries.sort(key=lambda entry: entry[0])
        self._events.append(record.Inbox(talker.device.user, talker.device.name, head, tuple(entries)))
        return ""

    def _client_of(self, user: str) -> Client | None:
        clients = [talker.client for talker in self._talkers if talker.device.user == user]
        return next((client for client in clients if client is not None), None)

    async def _until(self, there: Callable[[], bool], timeout_s: float) -> bool:
        until = now() + timeout_s
        while not there():
            if now() > until:
                return False
            await asyncio.sleep(POLL_S)
        return True

    async def _tell_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            say(
                {
                    "progress": {
                        "posted": self._posted,
                        "acknowledged": self._acknowledged,
                        "open": self._open,
                        "shown": self._shown,
                        "online": sum(talker.online for talker in self._talkers),
                        "devices": len(self._talkers),
                    }
                }
            )


def say(what: dict[str, Any]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


def now() -> float:
    return time.monotonic()


def stored(message: Message) -> record.Stored:
    return record.Stored(
        message.conversation,
        message.seq,
        message.id,
        message.sender,
        message.client_id,
        message.text,
        message.system,
        state=stored_state(message.state),
    )


def stored_change(change: MessageChanged) -> record.Stored:
    what = "reacted" if change.act is ChangeAct.REACT else str(change.act)
    return record.Stored(
        change.conversation,
        change.change_seq,
        change.id,
        change.by,
        change.client_id,
        change.content.text if change.content is not None else "",
        change=record.Change(what, change.seq),
        state=stored_state(change.state),
    )


def stub(conversation: str, seq: int) -> record.Stored:
    """A change of which only the place is told."""
    return record.Stored(conversation, seq, "", "", "", "")


def stored_state(state: State) -> record.State:
    return record.State(
        state.revision,
        state.edited_ms > 0,
        state.recalled_by,
        state.pinned,
        tuple((each.reaction, each.count, each.users) for each in state.reactions),
    )


def kept(talker: Talker) -> Iterator[record.Kept]:
    """What the application has in the end."""
    for conversation, messages in talker.keeping.everything().items():
        device = talker.device
        yield record.Kept(device.user, device.name, conversation, tuple(map(stored, messages)))


def asked(client: Client, to: str, client_id: str, change: record.Change, text: str) -> Awaitable[Sent]:
    match change.what:
        case "edit":
            return client.edit(to, change.target, text, client_id=client_id)
        case "recall":
            return client.recall(to, change.target, client_id=client_id)
        case "pin":
            return client.pin(to, change.target, client_id=client_id)
        case "unpin":
            return client.unpin(to, change.target, client_id=client_id)
        case "react":
            return client.react(to, change.target, change.reaction, client_id=client_id)
        case "unreact":
            return client.unreact(to, change.target, change.reaction, client_id=client_id)
        case _:
            raise ValueError(f"a change that nobody knows: {change}")


async def main() -> None:
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin.buffer)
    task = msgspec.json.decode(await orders.readline(), type=Task)
    await Worker(task).run(orders)


if __name__ == "__main__":
    uvloop.run(main())
