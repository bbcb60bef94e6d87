"""What devices hold of their users' inboxes, and which messages are delivered by that.

A message is delivered to a user when one of the user's devices holds it; so only what goes beyond all devices is news.

Guarantees: what is acknowledged is written behind, and never goes back. The news may be told twice after a change of
owner.
Does not know: cursors of conversations (marking.py marks those that this node owns, logic has the others marked).
"""

from __future__ import annotations

from collections.abc import Sequence

from protos.tidings.internal.v1 import storage_pb2
from services.common.errors import TidingsError, to_fault
from services.storage.appending import Inboxes
from services.storage.inboxes import Inbox
from services.storage.marking import Arrival, Marking
from services.storage.repository.contract import Repository
from services.storage.repository.records import Span
from services.storage.writing_behind import WriteBehind

AcknowledgeItem = storage_pb2.AcknowledgeItem
AcknowledgeOutcome = storage_pb2.AcknowledgeOutcome
MarkOutcome = storage_pb2.MarkOutcome

# Entries looked at for one acknowledgement; of more only the newest, since what is delivered covers what is before it.
ENTRIES_MAX = 2000


class Acknowledging:
    def __init__(self, repository: Repository, inboxes: Inboxes, marking: Marking, behind: WriteBehind) -> None:
        self._repository = repository
        self._inboxes = inboxes
        self._marking = marking
        self._behind = behind

    async def acknowledge(self, items: Sequence[AcknowledgeItem], *, mark: bool = False) -> list[AcknowledgeOutcome]:
        """Aligned with the items. `mark`: what this node owns is marked as delivered, and told if that moved it."""
        try:
            inboxes = await self._inboxes.touch(item.user for item in items)
            await self._load_devices(list(inboxes.values()))
            spans = [self._take(inboxes[item.user], item) for item in items]
            entries = await self._entries(inboxes, spans)
        except TidingsError as error:
            return [AcknowledgeOutcome(fault=to_fault(error)) for _ in items]
        news = [
            (index, Arrival(item.user, conversation, seq))
            for index, (item, found) in enumerate(zip(items, entries, strict=True))
            for conversation, seq in _highest(found).items()
        ]
        marks: Sequence[MarkOutcome | None] = [None] * len(news)
        if mark:
            marks = await self._marking.deliver([arrival for _, arrival in news])
        outcomes = [AcknowledgeOutcome() for _ in items]
        for (index, arrival), marked in zip(news, marks, strict=True):
            if marked is None or marked.moved:
                outcomes[index].delivered.add(conversation=arrival.conversation, seq=arrival.seq, mark=marked)
        return outcomes

    async def _load_devices(self, inboxes: Sequence[Inbox]) -> None:
        cold = [inbox for inbox in inboxes if inbox.devices is None]
        if cold:
            found = await self._repository.users.devices([inbox.user for inbox in cold])
            for inbox in cold:
                if inbox.devices is None:
                    inbox.devices = found.get(inbox.user, {})

    def _take(self, inbox: Inbox, item: AcknowledgeItem) -> Span:
        """Notes what the device holds; the entries that are news."""
        assert inbox.devices is not None
        held = max(inbox.devices.values(), default=0)
        number = min(item.number, inbox.head)
        if number > inbox.devices.get(item.device, 0):
            inbox.devices[item.device] = number
            self._behind.held(item.user, item.device, number)
        return Span(item.user, max(held, number - ENTRIES_MAX), number + 1, ENTRIES_MAX)

    async def _entries(self, inboxes: dict[str, Inbox], spans: Sequence[Span]) -> list[list[tuple[str, int]]]:
        """(conversation, seq) of the entries in each span: from memory, and from the repository what is older."""
        entries: list[list[tuple[str, int]]] = []
        older: dict[int, Span] = {}
        for index, span in enumerate(spans):
            inbox = inboxes[span.key]
            entries.append(inbox.between(span.after, span.before - 1))
            if span.after < min(inbox.floor, span.before - 1):
                older[index] = span._replace(before=min(span.before, inbox.floor + 1))
        if older:
            pages = await self._repository.inboxes.pages(list(older.values()))
            for index, page in zip(older, pages, strict=True):
                entries[index] = [(entry.conversation, entry.seq) for entry in page] + entries[index]
        return entries


def _highest(entries: Sequence[tuple[str, int]]) -> dict[str, int]:
    """The highest seq of each conversation."""
    highest: dict[str, int] = {}
    for conversation, seq in entries:
        highest[conversation] = max(seq, highest.get(conversation, 0))
    return highest
