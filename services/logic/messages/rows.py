"""Sends that come as columns: what is plain goes through column by column, everything else the general way.

    plan (row_plan.py) ─▶ plain: store ─▶ publish, not waited for ─▶ numbers ─┐
                     └──▶ others: MessageSender.send ─────────────────────────┴─▶ columns and unusual outcomes

No object, future or callback is made for a plain message: 22 µs of a message's CPU were theirs (measured). What storage
answers about a plain row besides that it is stored (the group has changed, a repeat, a defect) makes that row go the
general way as well, which asks again; its neighbours keep what they have.

Guarantees: those of sender.py. Order within a conversation: its plain rows are stored before its others, and no row is
plain that comes after one that is not. A row that goes the general way because of storage's answer comes after those
that storage took meanwhile, as a stale one always did.

Does not know: the general way (sender.py), which conversations are whose (storage_rows.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from protos.tidings.internal.v1 import common_pb2, logic_pb2, storage_pb2
from services.common.lanes.dividing import divided
from services.common.rpc.faults import from_fault, to_fault
from services.common.scope import run_all
from services.common.telemetry import metrics, tracing
from services.logic.groups.loader import GroupLoader
from services.logic.messages.row_columns import SendRows, SentRows
from services.logic.messages.row_plan import RowPlan, plan_rows
from services.logic.messages.sender import MessageSender
from services.logic.messages.speakers import body_of
from services.logic.publishing.message_columns import OutgoingMessages, without
from services.logic.publishing.publisher import Publisher
from services.logic.publishing.records import Publication
from services.logic.receipts.coalescer import ReaderCursor
from services.logic.receipts.sender import ReceiptSender
from services.logic.storage_client import StorageClient
from services.logic.storage_rows import RowsToStore, StoredRows
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
        rows = SendRows.of(columns)
        if self._sender.asks_hooks:
            plan = RowPlan(apart=list(range(len(rows.senders))))
        else:
            plan = plan_rows(rows.conversations, rows.senders, self._loader.remembered, rows.specials)
        sent = SentRows(len(rows.senders))
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
        rows = SendRows.of(columns)
        sent = SentRows(len(rows.senders))
        await self._send_others(rows, range(len(rows.senders)), sent)
        return sent.encoded()

    # ---- plain rows

    async def _send_plain(self, rows: SendRows, plan: RowPlan, sent: SentRows) -> None:
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

    def _note_read(self, rows: SendRows, plan: RowPlan, stored: StoredRows) -> None:
        """Takes note of the senders who have read over what was unread."""
        for row in stored.read_over:
            seq, sender = stored.seqs[row], rows.senders[row]
            self._receipts.note(
                ReaderCursor(sender, rows.conversations[row], seq, seq, rows.sessions[row], plan.versions[row])
            )

    def _take_back(self, rows: SendRows, plan: RowPlan, stored: StoredRows, sent: SentRows) -> None:
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

    async def _send_others(self, rows: SendRows, places: Sequence[int], sent: SentRows) -> None:
        items = list(rows.items(places))
        outcomes = await divided(partial(self._sender.send, holds=True), items, "SendRows")
        for place, outcome in zip(places, outcomes, strict=True):
            sent.put(place, SendOutcome(fault=to_fault(outcome)) if isinstance(outcome, TidingsError) else outcome)

    async def _refuse_replies(self, rows: SendRows, places: Sequence[int], sent: SentRows) -> None:
        for place, outcome in zip(places, await self._sender.refuse_replies(list(rows.items(places))), strict=True):
            sent.put(place, outcome)


def _told(rows: SendRows, plan: RowPlan, stored: StoredRows) -> OutgoingMessages:
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
                stored.ordinals or stored.seqs,
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
