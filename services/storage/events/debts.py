"""What debts come to: the messages and changes of the log that are not told, with those who got them.

Guarantees: each debt gives a page, in the order of seq; when it has no more messages it gives the changes without
notices, and then it is paid as soon as these are told. Who got a message is found as a recovery finds it. What is not
plain is told as it is shown now: a message that was edited meanwhile with its content of now, and nothing of what was
recalled, or of an edit that is not the last.
Does not know: when they are told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from protos.tidings.internal.v1 import storage_pb2
from services.common.clock import Clock
from services.storage.events.port import FedChange, FedRow
from services.storage.events.queue import Debt, Fed
from services.storage.folding.shown import is_special, shown, target_key, targets_of
from services.storage.loading import membership
from services.storage.repository.contract import Repository
from services.storage.repository.records import MessageKey, Span, StoredMessage

ChangeItem = storage_pb2.ChangeItem

PAGE = 50
# Messages without content that are read together, when it is looked for changes after a page.
LOOK = 1000


class Page(NamedTuple):
    """What is to be told next of a debt; `is_last`: it is paid with this."""

    rows: Sequence[Fed]
    is_last: bool


class DebtReader:
    def __init__(self, repository: Repository, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock

    async def read(self, debts: Sequence[Debt]) -> list[Page]:
        """The next page of each debt, aligned. Raises Unavailable."""
        spans = [Span(debt.conversation.id, debt.conversation.told, debt.upto + 1, PAGE) for debt in debts]
        pages = await self._repository.messages.pages(spans)
        targets = await self._targets(pages)
        read: list[Page] = []
        for debt, page in zip(debts, pages, strict=True):
            rows: list[Fed] = [self._as_shown(row, targets) for row in await self._addressed(debt, page)]
            is_last = len(page) < PAGE
            if is_last:
                rows += await self._changes(debt)
            read.append(Page(rows, is_last))
        return read

    async def _targets(self, pages: Sequence[Sequence[StoredMessage]]) -> Mapping[MessageKey, StoredMessage]:
        """What the CHANGEs of these pages change, without contents."""
        keys = targets_of(message for page in pages for message in page)
        return await self._repository.messages.get(sorted(keys), content_max=0) if keys else {}

    def _as_shown(self, row: FedRow, targets: Mapping[MessageKey, StoredMessage]) -> FedRow:
        message = row.message
        if not is_special(message):
            return row
        key = target_key(message)
        target = targets.get(key) if key is not None else None
        return row._replace(told=shown(message, self._clock.wall_ms(), target=target))

    async def _addressed(self, debt: Debt, page: Sequence[StoredMessage]) -> list[FedRow]:
        if not page:
            return []
        tail = [*page, *await self._changes_in_messages(debt, page)]
        members: Collection[str] = debt.members
        if debt.large_from and any(message.seq < debt.large_from and not message.change for message in page):
            found = await self._repository.members.all_in([debt.conversation.id])
            members = [each.user for each in found.get(debt.conversation.id, ()) if each.joined_seq < debt.large_from]
        addressed = membership.recipients_of(tail, members, debt.large_from)
        return [FedRow(debt.conversation, each.message, each.recipients) for each in addressed[: len(page)]]

    async def _changes_in_messages(self, debt: Debt, page: Sequence[StoredMessage]) -> list[StoredMessage]:
        """The notices after the page: by these one walks back to who was a member at its time."""
        found: list[StoredMessage] = []
        if not debt.members or len(page) < PAGE or debt.conversation.id[0] != "g":
            return found
        last = page[-1].seq
        while True:
            span = Span(debt.conversation.id, last, debt.upto + 1, LOOK)
            [later] = await self._repository.messages.pages([span], content=False)
            found += [message for message in later if message.change]
            if len(later) < LOOK:
                return found
            last = later[-1].seq

    async def _changes(self, debt: Debt) -> list[FedChange]:
        conversation = debt.conversation
        if not debt.large_from or conversation.told_stamp >= debt.upto_stamp:
            return []
        kept = await self._repository.changes.after(conversation.id, conversation.told_stamp)
        return [
            FedChange(conversation, each.stamp, ChangeItem.FromString(each.change).acts, each.time_ms) for each in kept
        ]
