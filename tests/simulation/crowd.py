"""The people of a simulation: who is in which conversation, what they say, who joins and leaves while things break.

Does not know: what breaks.
"""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field

from tests.simulation.hall import Hall
from tests.simulation.nodes import LARGE_ABOVE
from tests.simulation.world import World
from tests.support.device.device import Device
from tests.support.histories.history import Changed, Member, Read
from tidings_protocol.client_pb2 import Change, GroupRequest

CHANGE_S = (0.5, 3.0)
CHANGES = 0.45  # of what is said are changes of what was said before
KNOWN = 12  # of the newest messages that a device knows are changed
REACTIONS = ("👍", "❤", "🎉")
SEVERAL = 0.2  # of the messages go to all conversations of their sender: one batch holds them all
TABS = (2, 3, 5)


@dataclass(slots=True)
class Crowd:
    """Devices by user; conversations with the people who talk there."""

    here: World
    rng: random.Random
    devices: dict[str, list[Device]] = field(default_factory=dict)
    conversations: dict[str, list[str]] = field(default_factory=dict)
    tabs: list[Device] = field(default_factory=list)  # that say they are one device
    changing: str = ""  # a group whose members come and go; its founder is the first person
    hall: Hall | None = None

    @property
    def people(self) -> list[str]:
        return list(self.devices)

    async def gather(self, people: int) -> None:
        """Everyone comes online; direct chats, a small group, one that changes, one that is large."""
        for number in range(people):
            person = f"p{number}"
            names = ("phone", "web")[: 1 + number % 2]
            self.devices[person] = [self.here.device(person, name) for name in names]
        everyone = self.people
        self.conversations[f"d:{everyone[0]}|{everyone[0]}"] = everyone[:1]
        for first, second in zip(everyone, everyone[1:] + everyone[:1], strict=True):
            low, high = sorted((first, second))
            self.conversations[f"d:{low}|{high}"] = [low, high]
        for members in (everyone[:3], everyone):
            group = await self._found("stable", members)
            self.conversations[group] = members
        self.changing = await self._found("changing", everyone[:2])
        self.conversations[self.changing] = everyone[:1]
        self.hall = Hall(self.devices[everyone[1]][0], random.Random(f"hall {self.here.seed}"))
        await self.hall.open()

    async def talk(self, messages: int, seconds: float) -> None:
        """So many messages in about this time, some of them pipelined, some to several conversations at once."""
        for number in range(messages):
            conversation = self.rng.choice(list(self.conversations))
            person = self.rng.choice(self.conversations[conversation])
            device = self.rng.choice(self.devices[person])
            if device.known and self.rng.random() < CHANGES:
                device.change(self._change_of(device, number))
                await asyncio.sleep(self.rng.expovariate(messages / seconds))
                continue
            for part in range(self.rng.choice((1, 1, 1, 4))):
                device.post(conversation, f"message {number}.{part}")
            if self.rng.random() < SEVERAL:
                for other, people in self.conversations.items():
                    if person in people and other != conversation:
                        device.post(other, f"message {number}")
            await asyncio.sleep(self.rng.expovariate(messages / seconds))

    async def come_and_go(self, seconds: float) -> None:
        """The founder of the changing group adds and removes people."""
        founder = self.devices[self.people[0]][0]
        others = self.people[2:LARGE_ABOVE]  # a large group does not tell who comes and goes
        there: set[str] = set()
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            person = self.rng.choice(others)
            if self.rng.random() < 0.5:
                act = GroupRequest(add=GroupRequest.Add(conversation=self.changing, users=[person]))
            else:
                act = GroupRequest(remove=GroupRequest.Remove(conversation=self.changing, users=[person]))
            await founder.act(act)
            if act.HasField("add") != (person in there):
                there ^= {person}
                name = act.WhichOneof("act") or ""
                self.here.history.add(Changed(self.changing, name, founder.user, (person,)))
            await asyncio.sleep(self.rng.uniform(*CHANGE_S))

    async def open_tabs(self, seconds: float) -> None:
        """A browser opens again what it had: several logins of one device at the same moment."""
        await asyncio.sleep(self.rng.uniform(0.0, seconds))
        count = self.rng.choice(TABS)
        self.here.note(f"one device logs in {count} times at once")
        self.tabs = [self.here.device("tabs", "browser", obeys=True, twin=number) for number in range(1, count + 1)]

    @property
    def tabs_left(self) -> list[Device]:
        """Those that were not told that another one is newer."""
        return [device for device in self.tabs if not device.is_replaced]

    @property
    def settled(self) -> bool:
        return all(device.settled for device in (*self.all_devices, *self.tabs_left))

    @property
    def all_devices(self) -> list[Device]:
        return [device for devices in self.devices.values() for device in devices]

    async def look_back(self) -> None:
        """Everyone reads everything there is to read, into the history."""
        for conversation, people in self.conversations.items():
            for person in people:
                await self.devices[person][0].read(conversation)
                if conversation != self.changing:
                    self._note_member(conversation, person)
        self._note_changing_members()
        for device in self.all_devices:
            await device.read_inbox()

    # ---- inside

    def _change_of(self, device: Device, number: int) -> Change:
        """Something that this device does to a message that it knows; the cluster may refuse it."""
        conversation, seq, sender = self.rng.choice(device.known[-KNOWN:])
        change = Change(conversation=conversation, seq=seq)
        what = self.rng.choices(("edit", "recall", "react", "unreact", "pin"), (5, 1, 5, 2, 2))[0]
        if what in ("edit", "recall") and sender != device.user and self.rng.random() < 0.9:
            what = "react"
        match what:
            case "edit":
                change.edit.text = f"edited {number} by {device.user}"
            case "recall":
                change.recall.SetInParent()
            case "react":
                change.react = self.rng.choice(REACTIONS)
            case "unreact":
                change.unreact = self.rng.choice(REACTIONS)
            case "pin":
                change.pin = self.rng.random() < 0.7
        return change

    async def _found(self, name: str, members: list[str]) -> str:
        create = GroupRequest(create=GroupRequest.Create(name=name, members=members))
        return (await self.devices[members[0]][0].act(create)).group_info.conversation

    def _note_member(self, conversation: str, person: str, from_seq: int = 1, until_seq: int = 0) -> None:
        names = tuple(device.name for device in self.devices[person])
        self.here.history.add(Member(conversation, person, names, from_seq, until_seq))

    def _note_changing_members(self) -> None:
        """From the group's own story, as its founder reads it: who was in it from which message to which."""
        since: dict[str, int] = {}
        story = next(
            event
            for event in reversed(self.here.history.events)
            if isinstance(event, Read) and event.conversation == self.changing
        )
        for message in story.messages:
            if not message.act:
                continue
            act = json.loads(message.act)
            for user in {*act.get("users", ()), *({act["by"]} if act["act"] == "create" else ())}:
                if act["act"] in {"create", "add"}:
                    since.setdefault(user, message.seq)
                elif act["act"] == "remove" and user in since:
                    self._note_member(self.changing, user, since.pop(user), message.seq)
        for user, seq in since.items():
            self._note_member(self.changing, user, seq)
