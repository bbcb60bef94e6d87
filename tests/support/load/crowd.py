"""A process of thousands of bare devices, in pairs that talk a little; driven like worker.py, by JSON lines.

Guarantees: what it writes down is what its devices saw. Does not know: what is done to the cluster.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from services.common.auth.tokens import sign
from tests.support.histories import record
from tests.support.load.bare import BareDevice, Gone, Tally
from tests.support.load.worker import now, say
from tidings_protocol.client_pb2 import Message, Sent
from tidings_protocol.ids import direct

LOOK_S = 0.25
PROGRESS_S = 0.5
DEVICE = "raw"
READERS = 50
POLL_S = 0.1
MOVE_S, MOVING = 3.0, 0.02
DIALS_MAX = 100  # at once: what they are waiting for then is the cluster, not this process


@dataclass(frozen=True, slots=True)
class Task:
    """`users` in pairs: the first talks with the second, and so on. `talkers`: how many of them, from the first."""

    users: list[str]
    talkers: int
    tcp: list[str]
    secret: str
    audience: str
    seed: int
    history: str
    connects_per_s: float
    prefix: str = "raw"  # of the client ids


class Crowd:
    def __init__(self, task: Task) -> None:
        self._task = task
        self._rng = random.Random(task.seed)
        self._tally = Tally()
        self._dials = asyncio.Semaphore(DIALS_MAX)
        self._events: list[record.Event] = []
        self._rate = 0.0
        self._posted = self._acknowledged = self._shown = 0
        self._orders = itertools.count(1)
        self._posts: dict[str, tuple[int, str]] = {}
        self._partners = dict(zip(task.users[::2], task.users[1::2], strict=True))
        self._partners |= {partner: user for user, partner in self._partners.items()}
        self._devices = {user: self._device(user) for user in task.users}
        self._lives: list[asyncio.Task[None]] = []

    async def run(self, orders: asyncio.StreamReader) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._arrive(group)), group.create_task(self._look())]
            tasks += [group.create_task(self._talk()), group.create_task(self._tell_progress())]
            while line := await orders.readline():
                order = msgspec.json.decode(line)
                if order["do"] == "quit":
                    break
                say({"done": order["do"], **await self.obey(order)})
            for task in (*tasks, *self._lives):
                task.cancel()
        record.write(Path(self._task.history), self._events)
        say({"done": "quit"})

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        match order:
            case {"do": "connect", "timeout_s": timeout_s}:
                return {"online": await self._until(self._all_online, timeout_s)}
            case {"do": "back", "timeout_s": timeout_s}:
                return {"online": await self._until(self._all_back, timeout_s)}
            case {"do": "rate", "rate": rate}:
                self._rate = float(rate)
                return {}
            case {"do": "tally"}:
                return {"tally": self._told()}
            case {"do": "fresh"}:
                self._tally = Tally()
                for device in self._devices.values():
                    device.tally, device.welcomes = self._tally, 0
                return {}
            case {"do": "finish", "timeout_s": timeout_s}:
                return await self._finish(timeout_s)
            case _:
                raise ValueError(f"an order that nobody knows: {order}")

    # ---- devices

    def _device(self, user: str) -> BareDevice:
        secret, audience = self._task.secret.encode(), self._task.audience
        return BareDevice(
            user=user,
            name=DEVICE,
            token=sign(secret, user, audience, 86_400, now=time.time()),
            addresses=self._task.tcp,
            rng=self._rng,
            dials=self._dials,
            tally=self._tally,
            show=self._show,
            told=self._told_sent,
        )

    async def _arrive(self, group: asyncio.TaskGroup) -> None:
        """The first time they come one after the other."""
        began = now()
        for number, device in enumerate(self._devices.values()):
            ahead_s = number / self._task.connects_per_s - (now() - began)
            if ahead_s > 0.05:
                await asyncio.sleep(ahead_s)
            self._lives.append(group.create_task(device.run(), name=device.user))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for device in self._devices.values():
                device.look()

    async def _talk(self) -> None:
        talkers = self._task.users[: self._task.talkers]
        due = now()
        while True:
            await asyncio.sleep(0.01)
            if not self._rate or not talkers:
                due = now()
                continue
            due = max(due, now() - 0.2)
            while due <= now():
                due += 1.0 / self._rate
                self._post(self._devices[self._rng.choice(talkers)])

    def _post(self, device: BareDevice) -> None:
        order = next(self._orders)
        client_id, conversation = f"{self._task.prefix}-{order}", direct(device.user, self._partners[device.user])
        self._posted += 1
        self._posts[client_id] = order, conversation
        self._events.append(record.Posted(now(), device.user, DEVICE, order, conversation, client_id))
        device.post(conversation, client_id, f"{client_id} of {device.user}")

    def _told_sent(self, device: BareDevice, client_id: str, sent: Sent) -> None:
        self._acknowledged += 1
        order, conversation = self._posts.pop(client_id)
        self._events.append(
            record.Acknowledged(
                now(),
                device.user,
                DEVICE,
                order,
                conversation,
                client_id,
                sent.seq,
                sent.message_id,
                sent.time_ms,
                sent.duplicate,
            )
        )

    def _show(self, device: BareDevice, message: Message) -> None:
        self._shown += 1
        self._events.append(record.Shown(now(), device.user, DEVICE, stored(message)))

    # ---- the end

    def _all_online(self) -> bool:
        return all(device.online or device.ended for device in self._devices.values())

    def _all_back(self) -> bool:
        """Everyone had to begin a session anew, and did, but for the few that just move from one node to another."""
        if not all(device.welcomes or device.ended for device in self._devices.values()):
            return False
        away = [device.away_s for device in self._devices.values() if not device.online and not device.ended]
        return len(away) <= MOVING * len(self._devices) and max(away, default=0.0) < MOVE_S

    async def _finish(self, timeout_s: float) -> dict[str, Any]:
        """All settled, by the word of a fresh pong for each; then what talkers' conversations and inboxes hold."""
        self._rate = 0.0
        for device in self._devices.values():
            device.ping()
        await asyncio.sleep(2.0)
        settled = await self._until(lambda: all(map(_is_settled, self._devices.values())), timeout_s)
        for device in self._devices.values():
            if device.ended:
                self._events.append(record.Ended(now(), device.user, DEVICE, device.ended))
        talked = sorted({event.conversation for event in self._events if isinstance(event, record.Posted)})
        self._events += [record.Member(name, user, (DEVICE,)) for name in talked for user in name[2:].split("|")]
        places = asyncio.Semaphore(READERS)
        async with asyncio.TaskGroup() as group:
            reads = [group.create_task(self._read(name, places, timeout_s)) for name in talked]
        return {"settled": settled, "unread": [task.result() for task in reads if task.result()]}

    async def _read(self, conversation: str, places: asyncio.Semaphore, timeout_s: float) -> str:
        user = conversation[2:].partition("|")[0]
        until = now() + timeout_s
        while True:
            try:
                async with places:
                    await self._read_once(self._devices[user], conversation)
                return ""
            except (Gone, TimeoutError) as error:
                if now() > until:
                    return f"{conversation}: {error!r}"
                await asyncio.sleep(POLL_S)

    async def _read_once(self, device: BareDevice, conversation: str) -> None:
        messages = await device.history(conversation)
        head, entries = await device.inbox()
        self._events.append(record.Read(device.user, conversation, tuple(map(stored, messages))))
        inbox = tuple((number, stored(message)) for number, message in entries)
        self._events.append(record.Inbox(device.user, DEVICE, head, inbox))

    async def _until(self, there: Callable[[], bool], timeout_s: float) -> bool:
        until = now() + timeout_s
        while not there():
            if now() > until:
                return False
            await asyncio.sleep(POLL_S)
        return True

    # ---- what it tells

    async def _tell_progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            devices = self._devices.values()
            say(
                {
                    "progress": {
                        "posted": self._posted,
                        "acknowledged": self._acknowledged,
                        "open": len(self._posts),
                        "shown": self._shown,
                        "online": sum(device.online for device in devices),
                        "devices": len(devices),
                    }
                }
            )

    def _told(self) -> dict[str, Any]:
        tally = self._tally
        nodes = dict.fromkeys((device.node for device in self._devices.values() if device.online), 0)
        for device in self._devices.values():
            if device.online:
                nodes[device.node] += 1
        return {
            "connects": _by_second(tally.connects),
            "welcomes": {node: _by_second(counts) for node, counts in tally.welcomes.items()},
            "goodbyes": {str(code): count for code, count in tally.goodbyes.items()},
            "refused": tally.refused,
            "lost": tally.lost,
            "synced": tally.synced,
            "round_trips": tally.round_trips,
            "back_after": tally.back_after,
            "nodes": nodes,
        }


def _by_second(counts: dict[int, int]) -> list[list[int]]:
    return [[second, count] for second, count in sorted(counts.items())]


def _is_settled(device: BareDevice) -> bool:
    return bool(device.ended) or device.settled


def stored(message: Message) -> record.Stored:
    return record.Stored(
        message.conversation,
        message.seq,
        message.message_id,
        message.sender,
        message.client_id,
        message.content.text,
        message.kind == Message.SYSTEM,
    )


async def main() -> None:
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=2**26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin.buffer)
    task = msgspec.json.decode(await orders.readline(), type=Task)
    await Crowd(task).run(orders)


if __name__ == "__main__":
    uvloop.run(main())
