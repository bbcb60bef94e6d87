"""Receipts go out: who has read or got what is told to the others, at most one a second per reader and conversation.

`note` is called for every cursor that moved and returns at once; one task takes what is due, finds who is to be told,
and publishes it as one batch. While it is publishing, what comes gathers.

Guarantees: those of coalescer.py; to the other members and the reader's other devices in direct chats and groups that
are not large, only to the reader's other devices elsewhere. If the members cannot be had now, the receipt goes later.
Leaving the context sends what waits, as far as that can be done. A receipt that is lost (this node died) is found in
the conversation list: storage has the cursors.

Does not know: how cursors move (storage says that they did).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from protos.tidings.internal.v1 import delivery_pb2
from services.common.clock import Clock
from services.common.scope import Owned, TaskScope
from services.common.telemetry import metrics
from services.logic.groups.loader import FoundGroups, GroupLoader
from services.logic.groups.model import GroupSnapshot
from services.logic.publishing.events import EventEncoder, StreamEvent
from services.logic.publishing.parcels import OutgoingPush
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.records import Publication
from services.logic.receipts.coalescer import ReaderCursor, ReceiptCoalescer
from tidings_protocol import client_pb2
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import ConversationKind, kind_of, peers

# Between two batches: a busy node publishes many receipts at once, not each by itself; the first one waits for nothing.
GATHER_S = 0.1


class ReceiptSender(Owned):
    """An async context manager; enter it within the publisher's."""

    def __init__(
        self,
        loader: GroupLoader,
        publisher: Publisher,
        events: EventEncoder,
        clock: Clock,
        *,
        interval_s: float,
        pending_max: int,
    ) -> None:
        self._loader = loader
        self._publisher = publisher
        self._events = events
        self._clock = clock
        self._coalescer = ReceiptCoalescer(interval_s, pending_max)
        self._noted = asyncio.Event()
        self._scope = TaskScope()

    @property
    def pending(self) -> int:
        return len(self._coalescer)

    def note(self, cursor: ReaderCursor) -> None:
        """This cursor moved."""
        self._coalescer.note(cursor)
        self._noted.set()

    async def _running(self) -> AsyncIterator[None]:
        async with self._scope:
            self._scope.spawn(self._run(), name="receipts")
            yield
        if cursors := self._coalescer.flush():
            await self._tell(cursors)

    async def _run(self) -> None:
        while True:
            await self._wait()
            self._noted.clear()
            if cursors := self._coalescer.due(self._clock.now_s()):
                await self._tell(cursors)
                await asyncio.sleep(GATHER_S)

    async def _wait(self) -> None:
        """Returns when something may be due."""
        now_s = self._clock.now_s()
        due_s = self._coalescer.next_due_s(now_s)
        if due_s is None:
            await self._noted.wait()
        elif due_s > now_s:
            try:
                async with asyncio.timeout(max(due_s - now_s, GATHER_S)):
                    await self._noted.wait()
            except TimeoutError:
                pass

    async def _tell(self, cursors: Sequence[ReaderCursor]) -> None:
        groups = await self._loader.of_version(
            {
                cursor.conversation: cursor.version
                for cursor in cursors
                if not cursor.large and kind_of(cursor.conversation) is ConversationKind.GROUP
            }
        )
        now_ms = self._clock.wall_ms()
        outgoing: list[OutgoingPush] = []
        events: list[StreamEvent] = []
        for cursor in cursors:
            if _is_away(groups.get(cursor.conversation)):
                self._coalescer.give_back(cursor)
                continue
            receipt = client_pb2.Receipt(
                conversation=cursor.conversation,
                user=cursor.user,
                delivered_seq=cursor.delivered_seq,
                read_seq=cursor.read_seq,
            )
            outgoing.append(
                OutgoingPush(
                    kind=delivery_pb2.Push.RECEIPT,
                    body=receipt.SerializeToString(),
                    users=_told(cursor, groups),
                    conversation=cursor.conversation,
                    except_session=cursor.session,
                )
            )
            events += self._events.receipt(receipt, now_ms)
        metrics.RECEIPTS.inc(len(outgoing))
        await self._publisher.publish(Publication(outgoing, events))


def _is_away(group: GroupSnapshot | TidingsError | None) -> bool:
    """Who is in it can be had later."""
    return isinstance(group, TidingsError) and group.retryable


def _told(cursor: ReaderCursor, groups: FoundGroups) -> Sequence[str]:
    """Whose devices get the receipt."""
    match kind_of(cursor.conversation):
        case ConversationKind.DIRECT:
            a, b = peers(cursor.conversation)
            return (a,) if a == b else (a, b)
        case ConversationKind.GROUP:
            group = groups.get(cursor.conversation)
            if group is None or isinstance(group, TidingsError) or group.is_large:
                return (cursor.user,)
            return tuple(group.members)
        case ConversationKind.BROADCAST:
            return (cursor.user,)
