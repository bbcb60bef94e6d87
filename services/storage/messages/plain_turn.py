"""The plain way of the store lane: rows that need nothing but numbers, for many calls at once, in one insert.

    lock ─▶ plan ─▶ number inbox entries ─▶ insert [messages…, entries…] ─▶ memory ──▶ other nodes append their entries

A row is plain if its conversation and the inboxes of its recipients are in memory and this node's own, its client id is
new, and nothing refuses it. A conversation of which one row is not plain has no plain rows after that one.

Guarantees: a row is stored with everything that follows from it, or its conversation and its recipients' inboxes are
forgotten: then it goes the general way (write_round.py), which reads before it writes. Rows of one conversation are
stored in their order.
Does not know: lanes, refusals, repeats, what was half done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from services.common.clock import Clock
from services.common.telemetry import logs, metrics
from services.storage.events.port import FedRow
from services.storage.inboxes.fanout import InboxFanout
from services.storage.inboxes.numbering import Append, CachedInbox
from services.storage.inboxes.writer import InboxWriter
from services.storage.loading.duplicates import RecentSends
from services.storage.memory.conversation import CachedConversation
from services.storage.messages.jobs import unsure
from services.storage.messages.numbering import next_ms
from services.storage.messages.store_call import Rows, StoreCall
from services.storage.owners.peers import StoragePeers
from services.storage.repository.contract import Conflict, Repository
from services.storage.repository.records import NORMAL, SYSTEM, ClientKey, InboxEntry, StoredMessage
from tidings_protocol.errors import TidingsError
from tidings_protocol.ids import ConversationKind, slot_of

log = logs.get_logger(__name__)

PLAIN_KINDS: Final = frozenset((NORMAL, SYSTEM))


@dataclass(frozen=True, slots=True)
class PlainPorts:
    """What all plain turns of a node work with. `peek`: a conversation in memory that this node owns."""

    repository: Repository
    inboxes: InboxWriter
    fanout: InboxFanout
    peers: StoragePeers
    recent: RecentSends
    clock: Clock
    peek: Callable[[str], CachedConversation | None]


@dataclass(slots=True)
class Planned:
    """A conversation of a turn: its number and time after the last row that is planned."""

    conversation: CachedConversation
    head: int
    last_ms: int


class PlainTurn:
    """Make one, `run` it once.

    What it has planned lies in lists that are aligned: a row has no object of its own.
    """

    def __init__(self, ports: PlainPorts, taken: Iterable[str]) -> None:
        """`taken`: conversations of which something else is done in this turn."""
        self._ports = ports
        self._unusual = set(taken)
        self._now_ms = ports.clock.wall_ms()
        self._calls: list[StoreCall] = []
        self._places: list[int] = []
        self._messages: list[StoredMessage] = []
        self._keys: dict[ClientKey, None] = {}  # a set in the order of the rows
        self._planned: dict[str, Planned] = {}
        self._inboxes: dict[str, CachedInbox | None] = {}  # None: another node's
        self._unsettled: Collection[str] = ()

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def conversations(self) -> list[CachedConversation]:
        """The conversations that it writes to."""
        return [each.conversation for each in self._planned.values()]

    @property
    def unsettled(self) -> Collection[str]:
        """After `run`: the ids of those of which something that follows from a message is not known to be durable."""
        return self._unsettled

    @property
    def inboxes(self) -> list[CachedInbox]:
        """The inboxes that this node writes."""
        return [inbox for inbox in self._inboxes.values() if inbox is not None]

    def fed(self) -> list[FedRow]:
        """After `run`: what is durable, for the feed of events."""
        planned = self._planned
        return [
            FedRow(planned[message.conversation].conversation, message, call.recipients_of(place), call.traces[place])
            for message, call, place in zip(self._messages, self._calls, self._places, strict=True)
        ]

    async def run(self, parts: Iterable[Rows]) -> list[list[int]] | None:
        """Stores the plain ones of these rows, which have their outcomes then. The places of the others, for each part.
        None: nothing is known of any row, and all that is in memory of its conversations and inboxes is to be
        forgotten.
        """
        try:
            async with self._ports.inboxes.numbering:
                left = [self.plan(part) for part in parts]
                entries, far = self._number()
                if self._messages and not await self._insert(entries):
                    return None
                self._commit(entries)
        except Exception:  # the edge: what no row is the cause of on the general way is no row's failure here
            log.exception("a plain turn failed: its rows go the general way", rows=len(self))
            return None
        await self._append_far(far)
        return left

    # ---- planning

    def plan(self, rows: Rows) -> list[int]:
        """Takes the plain ones of these rows. The places of the others, ascending. Whoever calls this holds `numbering`
        until memory knows what became of them: no inbox is read, and none is numbered, meanwhile.
        """
        left: list[int] = []
        unusual, take, conversations = self._unusual, self._take, rows.call.conversations
        for place in rows.places:
            conversation = conversations[place]
            if conversation in unusual or not take(rows.call, place, conversation):
                unusual.add(conversation)
                left.append(place)
        return left

    def _take(self, call: StoreCall, place: int, key: str) -> bool:
        planned = self._planned.get(key) or self._begin(key)
        if planned is None:
            return False
        sender, client_id, kind = call.senders[place], call.client_ids[place], call.kinds[place]
        client_key = ClientKey(key, sender, client_id)
        if (
            not _may_follow(planned, kind, call.versions[place], call.reply_tos[place])
            or self._ports.recent.seq_of(client_key)
            or not self._knows_inboxes(call.recipients_of(place))
        ):
            return False
        self._keys[client_key] = None
        if len(self._keys) == len(self._places):
            return False  # it was there already, by an earlier row
        seq = planned.head = planned.head + 1
        time_ms = planned.last_ms = next_ms(self._now_ms, planned.last_ms)
        self._planned[key] = planned
        self._calls.append(call)
        self._places.append(place)
        changes = planned.conversation.changes
        self._messages.append(
            StoredMessage(key, seq, sender, client_id, time_ms, call.contents[place], kind, b"", 0, changes)
        )
        return True

    def _begin(self, key: str) -> Planned | None:
        conversation = self._ports.peek(key)
        if conversation is None or not conversation.exists or conversation.blockers:
            return None
        return Planned(conversation, conversation.head, conversation.last_ms)

    def _knows_inboxes(self, recipients: Sequence[str]) -> bool:
        """Whether the inboxes of all that this node owns are in memory; and nobody is named twice."""
        known, ports = self._inboxes, self._ports
        for user in recipients:
            if user not in known:
                inbox = ports.inboxes.peek(user)
                if inbox is None and ports.peers.owner_of(slot_of(user)) is None:
                    return False
                known[user] = inbox
        return len(set(recipients)) == len(recipients)

    # ---- writing

    def _number(self) -> tuple[list[InboxEntry], list[tuple[int, int]]]:
        """The inbox entries of this node's users, in the order of the rows, whose numbers are told to the calls; and
        (row, place among the recipients of its call) of each entry that another node has to append.
        """
        heads = {user: inbox.head for user, inbox in self._inboxes.items() if inbox is not None}
        entries: list[InboxEntry] = []
        far: list[tuple[int, int]] = []
        for row, (call, place) in enumerate(zip(self._calls, self._places, strict=True)):
            conversation, seq, _, _, time_ms = self._messages[row][:5]
            recipients, numbers = call.recipients, call.numbers
            for at in range(call.starts[place], call.starts[place + 1]):
                user = recipients[at]
                head = heads.get(user)
                if head is None:
                    far.append((row, at))
                    continue
                heads[user] = numbers[at] = number = head + 1
                entries.append(InboxEntry(user, number, conversation, seq, time_ms))
        return entries, far

    async def _insert(self, entries: list[InboxEntry]) -> bool:
        try:
            inserted = await self._ports.repository.log.insert(self._messages, entries)
        except TidingsError:
            return False  # whether it was done is not known
        if inserted.conflict in (Conflict.NUMBER, Conflict.ENTRY):
            metrics.FENCED.inc()
        return inserted.conflict is None

    def _commit(self, entries: list[InboxEntry]) -> None:
        """Tells memory and the calls what is durable now."""
        planned, recent, inboxes = self._planned, self._ports.recent, self._inboxes
        for message, key, call, place in zip(self._messages, self._keys, self._calls, self._places, strict=True):
            key_of, seq, sender, _, time_ms = message[:5]
            conversation = planned[key_of].conversation
            if time_ms < conversation.last_ms:
                conversation.was_ahead = True
            conversation.head = conversation.shown = seq
            conversation.last_ms = time_ms
            if conversation.changes:
                call.ordinals[place] = message.ordinal
            call.seqs[place], call.times_ms[place] = seq, time_ms
            if conversation.sent(sender, seq):
                call.read_over.add(place)
            recent.add(key, seq)
        for user, _, conversation_id, seq, time_ms, _ in entries:
            inbox = inboxes[user]
            assert inbox is not None
            inbox.push(conversation_id, seq, time_ms)
        system = [message.kind for message in self._messages].count(SYSTEM)
        metrics.STORED.labels("normal").inc(len(self) - system)
        metrics.STORED.labels("system").inc(system)
        metrics.INBOX_ENTRIES.inc(len(entries))

    async def _append_far(self, far: list[tuple[int, int]]) -> None:
        """Has the entries of other nodes' users appended by them. A row of which one fails has failed, and its
        conversation is not settled.
        """
        self._unsettled = {self._messages[row].conversation for row, _ in far}
        failed: set[str] = set()
        for (row, at), number in zip(far, await self._numbers_of(far), strict=True):
            call, place = self._calls[row], self._places[row]
            if isinstance(number, TidingsError):
                call.fail(place, unsure(number))
                failed.add(self._messages[row].conversation)
            elif place not in call.unusual:
                call.numbers[at] = number
        self._unsettled = failed
        for conversation in self.conversations:
            if conversation.id not in failed:
                conversation.settled = conversation.head

    async def _numbers_of(self, far: list[tuple[int, int]]) -> Sequence[int | TidingsError]:
        if not far:
            return ()
        try:
            return await self._ports.fanout.append([self._append_of(row, at) for row, at in far])
        except TidingsError as error:
            return [error] * len(far)

    def _append_of(self, row: int, at: int) -> Append:
        message = self._messages[row]
        return Append(self._calls[row].recipients[at], message.conversation, message.seq, message.time_ms)


def _may_follow(planned: Planned, kind: int, version: int, target: int) -> bool:
    """Whether nothing refuses a row of this kind, decided on this version, that names this entry. Kinds that change an
    earlier entry are not plain.
    """
    conversation = planned.conversation
    if conversation.kind is ConversationKind.GROUP and conversation.document.version != version:
        return False
    if target:
        is_there = max(conversation.first_seq, 1) <= target <= planned.head
        return kind == NORMAL and is_there and conversation.is_message(target)
    return kind in PLAIN_KINDS
