"""Sends that come as columns: what is plain goes through column by column, everything else the general way.

    plan (row_plan.py) ─▶ plain: store ─▶ publish, not waited for ─▶ numbers ─┐
                     └──▶ others: MessageSender.send ─────────────────────────┴─▶ columns and unusual outcomes

No object, future or callback is made for a plain message: 22 µs of a message's CPU were theirs (measured). What storage
answers about a plain row besides that it is stored (the group has changed, a repeat, a defect) makes that row go the
general way as well, which asks again; its neighbours keep what they have.

Guarantees: those of sender.py, but that an outcome does not wait for Kafka, unless too much waits for it
(publisher.py). Order within a conversation: its plain rows are stored before its others, and no row is plain that comes
after one that is not. A row that goes the general way because of storage's answer comes after those that storage took
meanwhile, as a stale one always did.

Does not know: the general way (sender.py), which conversations are whose (storage_rows.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import NamedTuple

from protos.tidings.internal.v1 import common_pb2, logic_pb2, storage_pb2
from services.common.lanes.dividing import divided
from services.common.rpc.faults import from_fault, to_fault
from services.common.scope import run_all
from services.common.telemetry import metrics, tracing
from services.logic.groups.loader import GroupLoader
from services.logic.messages.row_plan import RowPlan, plan_rows
from services.logic.messages.sender import MessageSender
from services.logic.messages.speakers import body_of
from services.logic.publishing.message_columns import OutgoingMessages, without
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.records import Publication
from services.logic.receipts.coalescer import ReaderCursor
from services.logic.receipts.sender import ReceiptSender
from services.logic.storage_client import StorageClient
from services.logic.storage_rows import RowsToStore, StoredRows, picked
from tidings_protocol.errors import TidingsError

StoreOutcome = storage_pb2.StoreOutcome
SendOutcome = logic_pb2.SendOutcome


class RowSender:
    """Sends what access nodes ask for as columns."""

    def __init__(
        self,
        sender: MessageSender,
        storage: StorageClient,
        loader: GroupLoader,
        publisher: Publisher,
        receipts: ReceiptSender,
    ) -> None:
        self._sender = sender
        self._storage = storage
        self._loader = loader
        self._publisher = publisher
        self._receipts = receipts

    async def send(self, columns: logic_pb2.SendColumns) -> logic_pb2.SentColumns:
        """Sends users' messages; gives what became of each row. The asker knows `pending`.

        Raises nothing for the sake of a row. After a cancellation any of the messages may be stored.
        """
        rows = _Rows.of(columns)
        if self._sender.asks_hooks:
            plan = RowPlan(apart=list(range(len(rows.senders))))
        else:
            plan = plan_rows(rows.conversations, rows.senders, self._loader.remembered)
        sent = _Sent(len(rows.senders))
        if plan.plain and plan.apart:
            await run_all(self._send_plain(rows, plan, sent), self._send_others(rows, plan.apart, sent))
        elif plan.plain:
            await self._send_plain(rows, plan, sent)
        else:
            await self._send_others(rows, plan.apart, sent)
        if plan.after:
            await self._send_others(rows, sorted(plan.after), sent)
        if sent.replies:
            await self._refuse_replies(rows, sent.replies, sent)
        return sent.encoded()

    async def send_generally(self, columns: logic_pb2.SendColumns) -> logic_pb2.SentColumns:
        """Does the same for what `send` has a defect with: each row the general way."""
        rows = _Rows.of(columns)
        sent = _Sent(len(rows.senders))
        await self._send_others(rows, range(len(rows.senders)), sent)
        return sent.encoded()

    # ---- plain rows

    async def _send_plain(self, rows: _Rows, plan: RowPlan, sent: _Sent) -> None:
        mine = rows.at(plan.plain)
        with tracing.batch("logic send", mine.traces, items=len(mine.senders)):
            stored = await self._storage.store_rows(
                RowsToStore(
                    mine.conversations,
                    mine.senders,
                    mine.client_ids,
                    mine.contents,
                    plan.recipient_counts,
                    plan.recipients,
                    plan.versions if any(plan.versions) else (),
                    mine.reply_tos,
                    mine.traces,
                )
            )
            told = _told(mine, plan, stored)
            self._note_read(mine, plan, stored)
            sent.put_stored(plan, stored)
            if stored.unusual:
                self._take_back(mine, plan, stored, sent)
            if told.bodies:
                metrics.observe_many(metrics.FANOUT, told.user_counts)
                await self._publisher.hand_over(Publication(columns=told, messages=len(told.bodies)))

    def _note_read(self, rows: _Rows, plan: RowPlan, stored: StoredRows) -> None:
        """Takes note of the senders who have read over what was unread."""
        for row in stored.read_over:
            seq, sender = stored.seqs[row], rows.senders[row]
            self._receipts.note(
                ReaderCursor(sender, rows.conversations[row], seq, seq, rows.sessions[row], plan.versions[row])
            )

    def _take_back(self, rows: _Rows, plan: RowPlan, stored: StoredRows, sent: _Sent) -> None:
        """Puts errors that say "come again" where they belong; other rows are to go the general way.

        But a reply to what is not there is not sent again: what came after it is stored, and may be what it names.
        """
        stale = 0
        for row, outcome in stored.unusual.items():
            place = plan.plain[row]
            if (fault := _come_again(outcome)) is not None:
                sent.put(place, SendOutcome(fault=fault))
                continue
            status = outcome.status if isinstance(outcome, StoreOutcome) else StoreOutcome.FAILED
            if status == StoreOutcome.NO_SUCH_REPLY:
                sent.replies.append(place)
                continue
            if status == StoreOutcome.STALE:
                stale += 1
                self._loader.forget(rows.conversations[row])
            plan.after.append(place)
        if stale:
            metrics.STALE_DECISIONS.labels("send").inc(stale)

    # ---- the general way

    async def _send_others(self, rows: _Rows, places: Sequence[int], sent: _Sent) -> None:
        items = list(rows.items(places))
        outcomes = await divided(partial(self._sender.send, holds=True), items, "SendRows")
        for place, outcome in zip(places, outcomes, strict=True):
            sent.put(place, SendOutcome(fault=to_fault(outcome)) if isinstance(outcome, TidingsError) else outcome)

    async def _refuse_replies(self, rows: _Rows, places: Sequence[int], sent: _Sent) -> None:
        for place, outcome in zip(places, await self._sender.refuse_replies(list(rows.items(places))), strict=True):
            sent.put(place, outcome)


class _Rows(NamedTuple):
    """Messages as lists that are aligned; `reply_tos` and `traces` are empty if there is nothing to say of any row."""

    senders: Sequence[str]
    sessions: Sequence[str]
    conversations: Sequence[str]
    client_ids: Sequence[str]
    contents: Sequence[bytes]
    reply_tos: Sequence[int]
    accepted_ms: Sequence[int]
    traces: Sequence[str]

    @classmethod
    def of(cls, columns: logic_pb2.SendColumns) -> _Rows:
        """The columns as an access node sends them. Raises ValueError if they are not aligned."""
        senders = list(columns.senders)
        count = len(senders)
        rows = cls(
            senders,
            list(columns.sessions) or [""] * count,
            list(columns.conversations),
            list(columns.client_ids),
            list(columns.contents),
            list(columns.reply_tos) if any(columns.reply_tos) else (),
            list(columns.accepted_ms) or [0] * count,
            list(columns.traces),
        )
        sizes = {len(column) for column in rows[:5]} | {len(rows.accepted_ms)}
        if sizes | {len(rows.reply_tos) or count, len(rows.traces) or count} != {count}:
            raise ValueError(f"the columns of {count} messages are not aligned: give a value for each, or none")
        return rows

    def at(self, places: Sequence[int]) -> _Rows:
        """The rows at these places, which ascend."""
        if len(places) == len(self.senders):
            return self
        return _Rows(
            picked(self.senders, places),
            picked(self.sessions, places),
            picked(self.conversations, places),
            picked(self.client_ids, places),
            picked(self.contents, places),
            picked(self.reply_tos, places),
            picked(self.accepted_ms, places),
            picked(self.traces, places),
        )

    def items(self, places: Iterable[int]) -> Iterable[logic_pb2.SendItem]:
        """The rows at these places as the general way takes them."""
        for place in places:
            yield logic_pb2.SendItem(
                sender=self.senders[place],
                session=self.sessions[place],
                conversation=self.conversations[place],
                client_id=self.client_ids[place],
                content=self.contents[place],
                reply_to=self.reply_tos[place] if self.reply_tos else 0,
                trace=self.traces[place] if self.traces else "",
                accepted_ms=self.accepted_ms[place],
            )


class _Sent:
    """The answer, as it comes together. Each row is put once, or again with what the general way made of it.

    `replies`: the places of replies to what is not there.
    """

    __slots__ = ("_numbers", "_seqs", "_times_ms", "_unusual", "replies")

    def __init__(self, count: int) -> None:
        self.replies: list[int] = []
        self._seqs = [0] * count
        self._times_ms = [0] * count
        self._numbers = [0] * count
        self._unusual: dict[int, SendOutcome] = {}

    def put_stored(self, plan: RowPlan, stored: StoredRows) -> None:
        """Puts plain rows; what is unusual among them has zeros."""
        numbers = [stored.numbers[own] for own in plan.owns]
        if len(plan.plain) == len(self._seqs):
            self._seqs, self._times_ms, self._numbers = stored.seqs, stored.times_ms, numbers
            return
        for place, seq, time_ms, number in zip(plan.plain, stored.seqs, stored.times_ms, numbers, strict=True):
            self._seqs[place], self._times_ms[place], self._numbers[place] = seq, time_ms, number

    def put(self, place: int, outcome: SendOutcome) -> None:
        """Puts what the general way says of a row."""
        if outcome.HasField("fault") or outcome.duplicate or outcome.pending:
            self._unusual[place] = outcome
        else:
            self._seqs[place], self._times_ms[place] = outcome.seq, outcome.time_ms
            self._numbers[place] = outcome.number

    def encoded(self) -> logic_pb2.SentColumns:
        unusual = [
            logic_pb2.SentColumns.Unusual(place=place, outcome=self._unusual[place]) for place in sorted(self._unusual)
        ]
        return logic_pb2.SentColumns(seqs=self._seqs, times_ms=self._times_ms, numbers=self._numbers, unusual=unusual)


def _told(rows: _Rows, plan: RowPlan, stored: StoredRows) -> OutgoingMessages:
    """What the recipients of the stored rows are told."""
    messages = OutgoingMessages(
        list(
            map(
                body_of,
                plan.speakers,
                rows.conversations,
                stored.seqs,
                stored.times_ms,
                rows.client_ids,
                rows.contents,
            )
        ),
        plan.recipient_counts,
        plan.recipients,
        stored.numbers,
        list(rows.sessions),
        list(rows.accepted_ms),
        list(rows.traces),
    )
    return without(messages, stored.unusual) if stored.unusual else messages


def _come_again(outcome: StoreOutcome | TidingsError) -> common_pb2.Fault | None:
    """The fault of a row that may be stored later, as it is; None: there is more to find out about it."""
    if isinstance(outcome, TidingsError):
        return to_fault(outcome) if outcome.retryable else None
    if outcome.status != StoreOutcome.FAILED or not from_fault(outcome.fault).retryable:
        return None
    return outcome.fault
