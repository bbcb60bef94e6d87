"""What devices hold of their users' inboxes, and which messages are delivered by that.

A message is delivered to a user when one of the user's devices holds it; so only what goes beyond all devices is news.

    what a device holds ──▶ news, up to ENTRIES_MAX entries ──▶ marked here, or by whoever asked
              ▲                                                          │
              └────────── asked again with `marked`: noted, and on ──────┘

Guarantees: a number is noted only when all that it tells of is marked; until then whoever asks again is told again,
which does no harm. What is noted is written behind, and never goes back.
Does not know: cursors of conversations (writer.py marks those that this node owns, logic has the others marked).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from protos.tidings.internal.v1 import storage_pb2
from services.common.rpc.faults import to_fault
from services.storage.cursors.writer import CursorWriter, DeliveryMark
from services.storage.inboxes.numbering import CachedInbox
from services.storage.inboxes.writer import InboxWriter
from services.storage.memory.write_behind import WriteBehind
from services.storage.repository.contract import Repository
from services.storage.repository.records import MessageKey, Span
from tidings_protocol.errors import TidingsError

AcknowledgeItem = storage_pb2.AcknowledgeItem
AcknowledgeOutcome = storage_pb2.AcknowledgeOutcome
MarkOutcome = storage_pb2.MarkOutcome

# Entries looked at in one step of an acknowledgement.
ENTRIES_MAX = 2000
# Devices of one user that are remembered: those that said something while the inbox was in memory.
DEVICES_MAX = 100


class Step(NamedTuple):
    """(conversation, seq) of the entries up to the number `last`, as far as they are news."""

    last: int
    entries: Sequence[MessageKey] = ()


class Acknowledgements:
    def __init__(
        self, repository: Repository, inboxes: InboxWriter, cursors: CursorWriter, behind: WriteBehind
    ) -> None:
        self._repository = repository
        self._inboxes = inboxes
        self._cursors = cursors
        self._behind = behind

    async def acknowledge(self, items: Sequence[AcknowledgeItem], *, mark: bool = False) -> list[AcknowledgeOutcome]:
        """Acknowledges what devices hold; outcomes are aligned with the items. `mark`: what this node owns is marked as
        delivered, and told if that moved it.

        An item whose inbox cannot be had has that as its fault.
        """
        touched = await self._inboxes.touch(item.user for item in items)
        inboxes = {user: inbox for user, inbox in touched.items() if isinstance(inbox, CachedInbox)}
        there = iter(await self._acknowledge([item for item in items if item.user in inboxes], inboxes, mark=mark))
        outcomes: list[AcknowledgeOutcome] = []
        for item in items:
            inbox = touched[item.user]
            if isinstance(inbox, TidingsError):
                outcomes.append(AcknowledgeOutcome(fault=to_fault(inbox)))
            else:
                outcomes.append(next(there))
        return outcomes

    async def _acknowledge(
        self, items: Sequence[AcknowledgeItem], inboxes: Mapping[str, CachedInbox], *, mark: bool
    ) -> list[AcknowledgeOutcome]:
        """Acknowledges items whose inboxes are in memory; aligned with them."""
        try:
            await self._load_held(list(inboxes.values()))
            for item in items:
                self._note(inboxes[item.user], item.device, item.marked)
            steps = await self._steps([(inboxes[item.user], item.number) for item in items])
        except TidingsError as error:
            return [AcknowledgeOutcome(fault=to_fault(error)) for _ in items]
        news = [
            (index, DeliveryMark(item.user, conversation, seq))
            for index, (item, step) in enumerate(zip(items, steps, strict=True))
            for conversation, seq in _highest(step.entries).items()
        ]
        marks: Sequence[MarkOutcome | None] = [None] * len(news)
        if mark:
            marks = await self._cursors.deliver([arrival for _, arrival in news])
        outcomes = [AcknowledgeOutcome() for _ in items]
        elsewhere: set[int] = set()
        for (index, arrival), marked in zip(news, marks, strict=True):
            if marked is None:
                elsewhere.add(index)
            if marked is None or marked.moved:
                outcomes[index].delivered.add(conversation=arrival.conversation, seq=arrival.seq, mark=marked)
        for index, (item, step) in enumerate(zip(items, steps, strict=True)):
            inbox = inboxes[item.user]
            if index not in elsewhere:
                self._note(inbox, item.device, step.last)
            if index in elsewhere or step.last < min(item.number, inbox.head):
                outcomes[index].upto = step.last
        return outcomes

    async def _load_held(self, inboxes: Sequence[CachedInbox]) -> None:
        cold = [inbox for inbox in inboxes if inbox.held is None]
        if cold:
            found = await self._repository.users.held([inbox.user for inbox in cold])
            for inbox in cold:
                if inbox.held is None:
                    inbox.held = found.get(inbox.user, 0)

    def _note(self, inbox: CachedInbox, device: str, number: int) -> None:
        """Notes that all which this device holds up to this number is marked."""
        number = min(number, inbox.head)
        if number <= inbox.devices.get(device, 0):
            return
        if len(inbox.devices) >= DEVICES_MAX:
            inbox.devices.clear()  # they are written once more, which changes nothing
        inbox.devices[device] = number
        inbox.held = max(inbox.held or 0, number)
        self._behind.held(inbox.user, device, number)

    async def _steps(self, held: Sequence[tuple[CachedInbox, int]]) -> list[Step]:
        """The next step towards each number: from memory, or from the repository if some of it is older."""
        steps: list[Step] = []
        older: dict[int, Span] = {}
        for index, (inbox, number) in enumerate(held):
            known, number = inbox.held or 0, min(number, inbox.head)
            steps.append(Step(number, inbox.between(known, number) if known < number else ()))
            if known < min(inbox.floor, number):
                older[index] = Span(inbox.user, known, number + 1, ENTRIES_MAX)
        if older:
            pages = await self._repository.inboxes.pages(list(older.values()))
            for index, page in zip(older, pages, strict=True):
                last = page[-1].number if len(page) == ENTRIES_MAX else steps[index].last
                steps[index] = Step(last, [(entry.conversation, entry.seq) for entry in page])
        return steps


def _highest(entries: Sequence[MessageKey]) -> dict[str, int]:
    """The highest seq of each conversation, by its id."""
    highest: dict[str, int] = {}
    for conversation, seq in entries:
        highest[conversation] = max(seq, highest.get(conversation, 0))
    return highest
